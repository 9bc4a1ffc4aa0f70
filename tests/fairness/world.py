"""A queue in a test's hands: it enqueues, claims and settles in few words, and the test moves its clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from django_fairque.engine.claim import Claim, claim
from django_fairque.engine.enqueue import CHUNK, enqueue
from django_fairque.engine.keys import Keys
from django_fairque.engine.options import DEFAULTS, Options
from django_fairque.engine.recover import recover
from django_fairque.engine.renew import join
from django_fairque.engine.serve import Serve
from django_fairque.engine.settle import Settled, Verdict, settle
from django_fairque.engine.task import Claimed, Finish, NewTask, Outcome, Policy
from tests.conftest import Run

START_MS = 1_700_000_000_000


@dataclass
class World:
    """One partition, its workers and its clock."""

    run: Run
    keys: Keys
    options: Options = DEFAULTS
    now_ms: int = START_MS
    policies: dict[str, Policy] = field(default_factory=dict)
    held: dict[str, list[Claimed]] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=count)
    _calls: Counter[str] = field(default_factory=Counter)

    def add(self, user: str, number: int = 1, **about: Any) -> list[str]:
        """Enqueue ``number`` tasks of ``user``, under its policy; their ids in order."""
        about.setdefault("policy", self.policies.get(user, Policy()))
        tasks = [NewTask(f"t{next(self._ids):06}", "tasks.noop", user, b"[]", **about) for _ in range(number)]
        self.add_all(tasks)
        return [task.id for task in tasks]

    def add_all(self, tasks: Sequence[NewTask]) -> None:
        """Enqueue these, in as few calls as may be."""
        for at in range(0, len(tasks), CHUNK):
            part = tasks[at : at + CHUNK]
            self.run(enqueue(self.keys, part, options=self.options, now_ms=self.now_ms))

    def joined(self, worker: str, group: str = "") -> str:
        """A worker with a lease."""
        self.run(join(self.keys, worker, {}, group=group, options=self.options, now_ms=self.now_ms))
        self.held[worker] = []
        return worker

    def asked(self, limit: int = 1, worker: str = "w", serve: Serve | None = None) -> Claim:
        """What a claim call answers. The worker joins at its first."""
        if worker not in self.held:
            self.joined(worker)
        self._calls[worker] += 1
        answer = self.run(
            claim(
                self.keys,
                worker,
                self._calls[worker],
                limit,
                serve or Serve(),
                options=self.options,
                now_ms=self.now_ms,
            )
        )
        self.held[worker] += answer.tasks
        return answer

    def claimed(self, limit: int = 1, worker: str = "w", serve: Serve | None = None) -> list[Claimed]:
        """The tasks of one claim call."""
        return self.asked(limit, worker, serve).tasks

    def served(self, limit: int = 1, worker: str = "w", serve: Serve | None = None) -> list[str]:
        """The users whose tasks one claim call gives, in order."""
        return [task.user_id for task in self.claimed(limit, worker, serve)]

    def settled(
        self, tasks: Iterable[Claimed], outcome: Outcome | None = None, worker: str = "w"
    ) -> list[Settled]:
        """End these attempts, well unless ``outcome`` says otherwise."""
        tasks = list(tasks)
        if not tasks:
            return []
        self.held[worker] = [task for task in self.held[worker] if task not in tasks]
        verdicts = [Verdict(task.id, task.call, outcome or Finish()) for task in tasks]
        return self.run(settle(self.keys, worker, verdicts, options=self.options, now_ms=self.now_ms))

    def killed(self, worker: str = "w") -> int:
        """The worker dies; how many tasks are taken back from it."""
        self.held.pop(worker, None)
        return self.run(recover(self.keys, worker, options=self.options, now_ms=self.now_ms))

    def passes(self, ms: int) -> None:
        """Time goes by."""
        self.now_ms += ms
