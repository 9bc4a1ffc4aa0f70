"""Change how a user is served: pause, resume, override its policy, assign it to a worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .keys import Keys, encode, encode_group
from .options import DEFAULTS, Options, moment
from .task import Policy
from .wire.command import Command


def pause(keys: Keys, user_id: str, *, now_ms: int | None = None) -> Command[None]:
    """Serve the user no more, from the next claim on. What runs goes on; enqueueing still works."""
    return _policy(keys, user_id, "pause", now_ms=now_ms)


def resume(
    keys: Keys, user_id: str, *, options: Options = DEFAULTS, now_ms: int | None = None
) -> Command[None]:
    """Serve the user again; it neither gained nor lost a turn by the pause."""
    return _policy(keys, user_id, "resume", options=options, now_ms=now_ms)


def override(
    keys: Keys,
    user_id: str,
    policy: Policy | None,
    *,
    options: Options = DEFAULTS,
    now_ms: int | None = None,
) -> Command[None]:
    """Let ``policy`` win over the settings' from the next claim on; ``None`` gives the settings back."""
    if policy is None:
        return _policy(keys, user_id, "settings", options=options, now_ms=now_ms)
    return _policy(keys, user_id, "override", policy.packed, options=options, now_ms=now_ms)


def assign(
    keys: Keys,
    group: str,
    users: Sequence[str],
    *,
    options: Options = DEFAULTS,
    now_ms: int | None = None,
) -> Command[int]:
    """Move ``users`` (of this partition) to the group of a named worker; each keeps its lead or lag."""
    args = (moment(now_ms), encode_group(group), options.debt, *(encode(user) for user in users))
    return Command("assign", (keys.base,), args, int)


def _policy(
    keys: Keys,
    user_id: str,
    what: str,
    packed: str = "",
    *,
    options: Options = DEFAULTS,
    now_ms: int | None = None,
) -> Command[None]:
    args = (moment(now_ms), encode(user_id), what, packed, options.debt)
    return Command("policy", (keys.base,), args, _nothing)


def _nothing(reply: Any) -> None:
    return None
