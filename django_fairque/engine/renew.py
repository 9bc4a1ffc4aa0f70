"""The life of a worker process as the queue sees it: join, renew, leave."""

from __future__ import annotations

import re
from base64 import b32encode
from collections.abc import Mapping, Sequence
from os import urandom
from typing import Any

from .errors import LeaseLost
from .keys import EVERYBODY, Keys, encode_group, encode_queue
from .options import DEFAULTS, Options, moment
from .serve import Everyone, Serve, User
from .wire.command import Command
from .workers import unpack

_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


def new_worker(name: str) -> str:
    """An incarnation id that was never used and never will be again, beginning with the worker's name."""
    return f"{_UNFIT.sub('-', name)[:32]}-{b32encode(urandom(10)).decode().lower()}"


def join(
    keys: Keys,
    worker: str,
    about: Mapping[str, str] | None = None,
    *,
    group: str = "",
    options: Options = DEFAULTS,
    now_ms: int | None = None,
) -> Command[None]:
    """Give ``worker`` a lease. ``about`` is what it says of itself, ``group`` the group it is named for."""
    about = dict(about or {})
    serve = unpack(about.get("serve", ""))
    about["groups"] = ":".join(_home(serve))
    queues = ":".join(encode_queue(queue) for queue in serve.queues)
    own = encode_group(group) if group else ""
    facts = [word for pair in about.items() for word in pair]
    args = (moment(now_ms), worker, options.lease_ms, own, queues, *facts)

    def joined(reply: bytes) -> None:
        if reply != b"ok":
            raise LeaseLost(worker)

    return Command("join", (keys.base,), args, joined)


def renew(
    keys: Keys,
    workers: Sequence[str],
    *,
    options: Options = DEFAULTS,
    now_ms: int | None = None,
) -> Command[list[str]]:
    """Prolong the leases of ``workers``; those that were taken for dead come back and must begin anew."""
    args = (
        moment(now_ms),
        options.lease_ms,
        options.fairness,
        options.result_ttl_ms,
        options.finished_limit,
        options.failed_ttl_ms,
        options.dead_letter_limit,
        options.debt,
        *workers,
    )
    return Command("renew", (keys.base,), args, _names)


def leave(keys: Keys, worker: str, *, options: Options = DEFAULTS, now_ms: int | None = None) -> Command[int]:
    """End ``worker``; what it still holds goes back uncounted. How many tasks that were."""
    return Command("leave", (keys.base,), (moment(now_ms), worker, options.debt), int)


def _home(serve: Serve) -> list[str]:
    """The groups that have a worker at home while this one lives."""
    return [
        EVERYBODY if isinstance(target, Everyone) else encode_group(target.name)
        for target in serve.home
        if not isinstance(target, User)
    ]


def _names(reply: list[Any]) -> list[str]:
    return [name.decode() for name in reply]
