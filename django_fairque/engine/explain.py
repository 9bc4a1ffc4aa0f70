"""Why is this user waiting? The answer as data and as a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .keys import EVERYBODY, Keys, decode, encode
from .options import moment
from .serve import Everyone, Group, Target
from .task import Policy
from .wire.command import Command
from .workers import WorkerRecord


@dataclass(frozen=True, slots=True)
class Place:
    """Where a user stands in one queue."""

    queue: str
    waiting: int
    ahead: int | None
    """How many ready users come before it; ``None`` while it may not be served."""
    ready: int
    """How many users are ready in the same queue and group, itself included."""
    oldest_ms: int
    """How long its next task has been waiting."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The facts about one user. ``because`` puts them into words."""

    user_id: str
    policy: Policy
    group: str
    waiting: int
    """Accepted and not started: queued and scheduled."""
    running: int
    paused: bool
    rate_wait_ms: int
    places: tuple[Place, ...]

    @property
    def queued(self) -> int:
        """How many of the waiting tasks are due."""
        return sum(place.waiting for place in self.places)

    @property
    def at_cap(self) -> bool:
        """Whether it runs as many tasks as it may."""
        return 0 < self.policy.max_concurrency <= self.running

    def served_by(self, workers: Sequence[WorkerRecord]) -> list[WorkerRecord]:
        """The living workers that may serve this user in a queue where it waits."""
        queues = {place.queue for place in self.places}
        return [
            worker
            for worker in workers
            if worker.lease_ms > 0
            and queues.intersection(worker.serve.queues)
            and any(self._is_served(target) for target in (*worker.serve.home, *worker.serve.steal))
        ]

    def _is_served(self, target: Target) -> bool:
        if isinstance(target, Everyone):
            return True
        if isinstance(target, Group):
            return target.name == self.group
        return target.id == self.user_id

    def because(self, workers: Sequence[WorkerRecord]) -> str:
        """Why the user waits, in a sentence, given the workers that are alive."""
        if not self.waiting:
            return "Nothing is waiting."
        if not self.queued:
            if not any(worker.lease_ms > 0 for worker in workers):
                return f"Its {self.waiting} waiting tasks are scheduled; no worker is alive to start them."
            return f"Its {self.waiting} waiting tasks are scheduled for later."
        if self.paused:
            return f"It is paused; {self.queued} tasks wait until it is resumed."
        if self.at_cap:
            return f"It runs {self.running} tasks, as many as it may; {self.queued} wait for one to end."
        if not self.served_by(workers):
            home = "" if self.group == EVERYBODY else f" It is assigned to worker {self.group!r}."
            return f"No worker is alive that serves it.{home}"
        if self.rate_wait_ms > 0:
            return f"It is over its rate; its next task may start in {self.rate_wait_ms / 1_000:.1f} s."
        ahead = min((place.ahead for place in self.places if place.ahead is not None), default=None)
        if ahead is None:
            return "It is about to become ready."
        if ahead == 0:
            return "It is ready and next in turn; it waits for a free slot of a worker."
        return f"It is ready, behind {ahead} other user{'s' if ahead > 1 else ''}."


def explain(keys: Keys, user_id: str, *, now_ms: int | None = None) -> Command[Standing]:
    """Where a user stands. ``Standing.because(workers)`` says why it waits."""

    def read(reply: list[Any]) -> Standing:
        now, packed, group, waiting, running, paused, rate_wait, *places = reply
        weight, cap, interval, burst, backlog = (float(part) for part in packed.split(b"|"))
        return Standing(
            user_id,
            Policy(weight, int(cap), interval, int(burst), int(backlog)),
            decode(group),
            int(waiting),
            int(running),
            paused == b"1",
            int(rate_wait),
            tuple(
                Place(decode(queue), int(n), rank, ready, int(now) - int(since) if since else 0)
                for queue, n, rank, ready, since in places
            ),
        )

    return Command("explain", (keys.base,), (moment(now_ms), encode(user_id)), read)
