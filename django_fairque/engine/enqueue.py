"""Take tasks in: one call, one script, all of the tasks or none."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from os import urandom
from typing import Any

from .errors import Conflict, Invalid, QueueFull
from .keys import Keys, decode, encode, encode_group, encode_queue
from .options import DEFAULTS, Options, moment
from .task import NewTask, Priority
from .wire.command import Arg, Command

CHUNK = 1_000
"""How many tasks one call takes: a script must not keep the server for long."""

PRIORITY_MIN, PRIORITY_MAX = -100, 100


@dataclass(frozen=True, slots=True)
class Enqueued:
    """How many tasks are new, and the ids that were there already with the same work."""

    new: int
    existing: tuple[str, ...] = ()


def new_ids(count: int) -> list[str]:
    """``count`` ids that nobody has used: 119 random bits as 20 letters and digits each."""
    text = b64encode(urandom(15 * count), b"zZ").decode()
    return [text[at : at + 20] for at in range(0, 20 * count, 20)]


def enqueue(
    keys: Keys,
    tasks: Sequence[NewTask],
    *,
    given: bool = True,
    options: Options = DEFAULTS,
    now_ms: int | None = None,
) -> Command[Enqueued]:
    """Take ``tasks`` (one partition's, at most 1,000) in: all, or none and raise why.

    ``given`` is false when the ids come from ``new_ids``: then they need no check one by one.
    Raises ``Conflict`` when an id carries other work, ``QueueFull`` at a user's backlog limit.
    """
    if not 1 <= len(tasks) <= CHUNK:
        raise Invalid("tasks", f"one call takes 1 to {CHUNK:,} tasks, not {len(tasks):,}.")
    kinds: dict[tuple[Any, ...], int] = {}
    header: list[Arg] = []
    body: list[Arg] = []
    for task in tasks:
        # The type is part of the key: Priority.CRITICAL equals 6, and means another lane.
        kind = (
            task.user_id, task.queue, task.name, task.priority, type(task.priority),
            task.run_at_ms, task.policy, task.group,
        )  # fmt: skip
        number = kinds.get(kind)
        if number is None:
            number = kinds[kind] = len(kinds) + 1
            if not task.name:
                raise Invalid("name", "must not be empty.")
            header += (
                encode(task.user_id),
                encode_group(task.group),
                task.policy.packed,
                encode_queue(task.queue),
                _utf8(task.name),
                lane_of(task.priority),
                "" if task.run_at_ms is None else task.run_at_ms,
            )
        body += (number, task.id, task.payload)
    return Command(
        "enqueue",
        (keys.base,),
        (
            moment(now_ms),
            "1" if given else "",
            options.debt,
            options.priority_age_ms * 1_000,
            options.lease_ms,
            len(kinds),
            *header,
            *body,
        ),
        _enqueued,
    )


def _utf8(name: str) -> bytes:
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise Invalid("name", "holds a lone surrogate and cannot be encoded as UTF-8.") from None


def lane_of(priority: int) -> str | int:
    """``"c"`` for the critical lane, else the place on the line of priorities."""
    if priority is Priority.CRITICAL:
        return "c"
    if not PRIORITY_MIN <= priority <= PRIORITY_MAX:
        raise Invalid("priority", f"must be between {PRIORITY_MIN} and {PRIORITY_MAX}, not {priority}.")
    return int(priority)


def _enqueued(reply: list[Any]) -> Enqueued:
    word = reply[0]
    if word == b"ok":
        return Enqueued(reply[1], tuple(id.decode() for id in reply[2:]))
    if word == b"conflict":
        raise Conflict(reply[1].decode())
    raise QueueFull(decode(reply[1]), reply[2], reply[3])
