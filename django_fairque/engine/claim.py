"""Take the next tasks in fair order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from .errors import LeaseLost
from .keys import Keys, decode, encode_group, encode_queue
from .options import DEFAULTS, Options, terms
from .serve import Serve
from .task import Claimed, Priority
from .wire.command import Command

_VALUES = 7
_PLAIN = (None,) * 5


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim call got, and what the worker should know before it sleeps."""

    tasks: list[Claimed]
    more: bool
    """Somebody else is ready still."""
    wait_ms: int | None
    """When scheduled or rate-limited work becomes due, or ``None`` when nothing will."""
    clock: float
    """The virtual time of the home group: with several partitions the slowest clock comes first."""
    groups: tuple[str, ...]
    """The named groups that exist. Where there are none, nobody watches whether this worker lives."""


def claim(
    keys: Keys,
    worker: str,
    call: int,
    limit: int,
    serve: Serve,
    *,
    options: Options = DEFAULTS,
    floor: float = 0.0,
    now_ms: int | None = None,
) -> Command[Claim]:
    """Lease up to ``limit`` tasks to ``worker``, in fair order, charged to their users.

    ``call`` numbers the worker's claims: the same number again, after a lost reply, gives the same
    tasks again. ``floor`` lifts the home clock of a partition that was empty. Raises ``LeaseLost``
    when the worker was taken for dead.
    """
    args = terms(options, worker, now_ms) + asked(call, limit, floor, serve)
    return Command("claim", (keys.base,), args, partial(claimed, worker, call))


def asked(call: int, limit: int, floor: float, serve: Serve) -> tuple[str | int | float, ...]:
    """What a worker asks for, as ``lua/include/claiming.lua`` reads it."""
    return (call, limit, floor, *serve.packed)


def ring(keys: Keys, places: Iterable[tuple[str, str]]) -> Command[int]:
    """Pass a wake-up for each ``(queue, group)`` on to another worker, where somebody is ready."""
    args = [name for queue, group in places for name in (encode_queue(queue), encode_group(group))]
    return Command("ring", (keys.base,), tuple(args), int)


def priority_of(stored: bytes) -> int:
    """The priority as the caller gave it."""
    if stored == b"c":
        return Priority.CRITICAL
    try:
        return int(stored)
    except ValueError:
        return 0  # written by hand


def claimed(worker: str, call: int, reply: list[Any]) -> Claim:
    """What a claim's reply says. Raises ``LeaseLost``."""
    if reply[0] != b"ok":
        raise LeaseLost(worker)
    started_ms = int(reply[5])
    mine = (worker,)
    tasks = []
    for at in range(6, len(reply), _VALUES):
        id, name, user, queue, payload, enqueued, special = reply[at : at + _VALUES]
        priority, failed, lost, due, earlier = special or _PLAIN
        tasks.append(
            Claimed(
                id.decode(),
                call,
                name.decode(),
                decode(user),
                decode(queue),
                priority_of(priority) if priority else 0,
                payload,
                int(failed or 0) + 1,
                int(failed or 0) + int(lost or 0) + 1,
                int(enqueued),
                started_ms,
                int(due) if due else None,
                (*earlier.decode().split(","), worker) if earlier else mine,
            )
        )
    return Claim(
        tasks,
        reply[1] == b"1",
        int(reply[2]) if reply[2] else None,
        float(reply[3]),
        tuple(decode(name) for name in reply[4].split(b":")) if reply[4] else (),
    )
