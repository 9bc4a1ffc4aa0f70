"""Numbers: how much waits, runs and ended, and what happened in each minute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .keys import Keys, decode
from .options import DEFAULTS, MINUTE_MS, Options, moment
from .task import State
from .wire.command import Command


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often a time fell into each bucket. Bucket ``b`` reaches from 2^(b/2) - 1 ms upwards."""

    buckets: Mapping[int, int] = field(default_factory=dict)

    def percentile(self, share: float) -> float | None:
        """The time in ms that ``share`` (0 to 1) of all stayed below, right within a fifth."""
        total = sum(self.buckets.values())
        passed = 0
        for bucket in sorted(self.buckets):
            passed += self.buckets[bucket]
            if passed >= share * total:
                return float(2 ** ((bucket + 0.5) / 2) - 1)
        return None

    def __add__(self, other: Histogram) -> Histogram:
        """Both together."""
        every = set(self.buckets) | set(other.buckets)
        return Histogram({b: self.buckets.get(b, 0) + other.buckets.get(b, 0) for b in every})


@dataclass(frozen=True, slots=True)
class Minute:
    """What happened in one minute (minutes since the epoch, server clock)."""

    minute: int
    enqueued: int = 0
    started: int = 0
    finished: int = 0
    failed: int = 0
    retried: int = 0
    canceled: int = 0
    recovered: int = 0
    wait: Histogram = Histogram()
    run: Histogram = Histogram()


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks are in each state, how many wait in each queue, and who is there."""

    states: Mapping[State, int]
    queues: Mapping[str, int]
    users: int
    workers: int
    dropped: int
    """Dead letters that were dropped because their limit was reached."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts now, and the minutes that were asked for."""

    now_ms: int
    counts: Counts
    minutes: tuple[Minute, ...]


def stats(
    keys: Keys,
    *,
    since: int | None = None,
    until: int | None = None,
    options: Options = DEFAULTS,
    now_ms: int | None = None,
) -> Command[Stats]:
    """Counts of one partition and its minutes ``since`` to ``until`` (of the last day; none by default)."""
    first, last = (1, 0) if since is None else (since, since if until is None else until)
    args = (moment(now_ms), options.result_ttl_ms, options.failed_ttl_ms, first, last)

    def read(reply: list[Any]) -> Stats:
        minutes = tuple(_minute(first + at, _pairs(flat)) for at, flat in enumerate(reply[8:]))
        return Stats(int(reply[0]), _counts(reply), minutes)

    return Command("stats", (keys.base,), args, read)


def minute_of(now_ms: float) -> int:
    """The minute that a time in ms belongs to."""
    return int(now_ms // MINUTE_MS)


def _pairs(flat: list[bytes]) -> dict[str, int]:
    return {name.decode(): int(float(value)) for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _counts(reply: list[Any]) -> Counts:
    counters = _pairs(reply[1])
    queues = {
        decode(name[2:]): waiting for name, waiting in counters.items() if name.startswith("q:") and waiting
    }
    states = {
        State.QUEUED: sum(queues.values()),
        State.STARTED: counters.get("running", 0),
        State.SCHEDULED: reply[2],
        State.FINISHED: reply[3],
        State.FAILED: reply[4],
        State.CANCELED: reply[5],
    }
    return Counts(states, queues, users=reply[6], workers=reply[7], dropped=counters.get("dropped", 0))


def _minute(minute: int, values: dict[str, int]) -> Minute:
    def histogram(letter: str) -> Histogram:
        return Histogram(
            {int(name[1:]): n for name, n in values.items() if name[0] == letter and name[1:].isdigit()}
        )

    names = ("enqueued", "started", "finished", "failed", "retried", "canceled", "recovered")
    return Minute(
        minute, **{name: values.get(name, 0) for name in names}, wait=histogram("w"), run=histogram("r")
    )
