"""The things a step handles: states, priorities, policies, tasks and the outcomes of attempts."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from functools import lru_cache
from math import inf

from .errors import Invalid


class State(StrEnum):
    """Where a task is in its life. A task is in exactly one state."""

    SCHEDULED = "scheduled"
    DEFERRED = "deferred"
    QUEUED = "queued"
    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more happens to a task in this state by itself."""
        return self in (State.FINISHED, State.FAILED, State.CANCELED)


class Priority(IntEnum):
    """Named points on Django's line of priorities, which runs from -100 to 100.

    One step is worth 60 seconds of age (setting ``PRIORITY_AGE``). ``CRITICAL`` is a lane of its
    own, served first in, first out, before everything else of the same user. A plain ``6`` is a
    priority like 5 and 7; only ``Priority.CRITICAL`` itself means the critical lane.
    """

    VERY_LOW = 1
    LOW = 2
    NORMAL = 3
    HIGH = 4
    VERY_HIGH = 5
    CRITICAL = 6


@dataclass(frozen=True, slots=True)
class Policy:
    """How a user is served: its share, and what it may not exceed. 0 means no limit."""

    weight: float = 1.0
    max_concurrency: int = 0
    rate_interval_ms: float = 0.0
    """Milliseconds between two starts at the user's rate; 0 for no rate."""
    rate_burst: int = 1
    """How many starts may come at once after a quiet time."""
    max_backlog: int = 0

    def __post_init__(self) -> None:
        if not 0.001 <= self.weight <= 1_000_000:
            raise Invalid("weight", f"must be between 0.001 and 1,000,000, not {self.weight!r}.")
        if self.max_concurrency < 0 or self.max_backlog < 0:
            raise Invalid("policy", "limits must not be negative.")
        if not 0 <= self.rate_interval_ms < inf:
            raise Invalid("rate", f"must be an interval of 0 ms or more, not {self.rate_interval_ms!r}.")
        if self.rate_burst < 1:
            raise Invalid("rate_burst", "must be at least 1.")

    @property
    def packed(self) -> str:
        """The policy as scripts read it."""
        return _packed(self)


@lru_cache(maxsize=4_096)
def _packed(policy: Policy) -> str:
    numbers = (
        policy.weight,
        policy.max_concurrency,
        policy.rate_interval_ms,
        policy.rate_burst,
        policy.max_backlog,
    )
    return "|".join(f"{number:.17g}" for number in numbers)


DEFAULT_POLICY = Policy()


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to enqueue. ``payload`` is opaque to the queue: the worker's side reads it."""

    id: str
    name: str
    user_id: str
    payload: bytes
    queue: str = "default"
    priority: int = 0
    run_at_ms: int | None = None
    """Not before this time (ms since the epoch, server clock); ``None`` for at once."""
    policy: Policy = DEFAULT_POLICY
    group: str = "*"
    """The named worker its user is assigned to, or ``*``."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A task that this worker may run now, and the token (``call``) its outcome must carry."""

    id: str
    call: int
    name: str
    user_id: str
    queue: str
    priority: int
    payload: bytes
    attempt: int
    """1 for the first run; runs lost with their worker do not count."""
    deliveries: int
    """How often the task was handed to a worker, this time included."""
    enqueued_ms: int
    started_ms: int
    run_at_ms: int | None
    workers: tuple[str, ...]
    """The workers that had it, this one included."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The attempt succeeded. ``result`` is stored as it is."""

    result: bytes = b"null"
    run_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Retry:
    """The attempt failed; run the task again after ``delay_ms``."""

    delay_ms: int
    error: bytes = b""
    run_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Bury:
    """The task failed for good and lies among the dead letters, with ``reason`` in a few words."""

    reason: str
    error: bytes = b""
    run_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Release:
    """The attempt never began: the task goes back to the front, and nothing is counted."""


@dataclass(frozen=True, slots=True)
class Park:
    """Nobody here can run the task (an unknown name): it waits ``delay_ms``, and no attempt is counted."""

    delay_ms: int
    reason: str


Outcome = Finish | Retry | Bury | Release | Park


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """Everything stored of one task."""

    id: str
    name: str
    user_id: str
    queue: str
    priority: int
    state: State
    payload: bytes
    attempts: int
    """How many attempts failed so far."""
    lost: int
    """How often a worker was lost with it."""
    enqueued_ms: int
    run_at_ms: int | None
    first_started_ms: int | None
    started_ms: int | None
    finished_ms: int | None
    result: bytes | None
    reason: str
    errors: tuple[bytes, ...]
    workers: tuple[str, ...] = field(default=())
