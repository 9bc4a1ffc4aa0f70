"""What steps have in common and settings decide. Durations carry their unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fairness = Literal["turns", "time"]

MINUTE_MS = 60_000
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Options:
    """How the queue of one site behaves; every process of the site uses the same."""

    lease_ms: int = 30_000
    max_deliveries: int = 5
    fairness: Fairness = "turns"
    debt_limit: float = 64.0
    """How far a user may lie ahead of the clock: in turns, or (``"time"``) in seconds of run time."""
    priority_age_ms: int = MINUTE_MS
    """What one step of priority is worth in age."""
    result_ttl_ms: int = 60 * MINUTE_MS
    failed_ttl_ms: int = 30 * DAY_MS
    finished_limit: int = 100_000
    dead_letter_limit: int = 100_000

    @property
    def debt(self) -> float:
        """``debt_limit`` in the unit of the virtual time: turns or milliseconds."""
        return self.debt_limit * 1_000 if self.fairness == "time" else self.debt_limit


DEFAULTS = Options()


def terms(options: Options, worker: str, now_ms: int | None) -> tuple[str | int | float, ...]:
    """What the scripts of a worker begin with; see ``lua/include/terms.lua``."""
    return (
        moment(now_ms),
        worker,
        options.fairness,
        options.debt,
        options.failed_ttl_ms,
        options.dead_letter_limit,
        options.lease_ms,
        options.max_deliveries,
        options.priority_age_ms * 1_000,
        options.result_ttl_ms,
        options.finished_limit,
    )


def moment(now_ms: int | None) -> str | int:
    """The first argument of a script: empty for the server's clock, or a test's own time."""
    return "" if now_ms is None else now_ms
