"""What a supervisor tells the server about its children: they live, or they do not."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from time import monotonic, sleep
from typing import TYPE_CHECKING

from .. import errors, policy, recover, renew

if TYPE_CHECKING:
    from ..wire.command import Command
    from ..wire.executor import Executor
    from .plan import WorkerPlan
    from .seat import Seat

log = logging.getLogger("django_fairque.worker")
# A script stays short, however many users a worker has.
ASSIGN_AT_ONCE = 1_000
FIRST_DELAY_S, LAST_DELAY_S = 0.1, 2.0


class Leases:
    """Renews the leases of the living, gives back the tasks of the dead, and keeps trying."""

    def __init__(self, plan: WorkerPlan, executor: Executor) -> None:
        self._plan = plan
        self._executor = executor
        self._keys = plan.space.all()
        self._owed: list[tuple[int, str]] = []
        self._to_assign = list(_assignments(plan))
        self._delay_s = 0.0
        self._renew_at = monotonic() + plan.renew_s
        self._retry_at = 0.0

    @property
    def next_at(self) -> float:
        """When ``tend`` has something to do next."""
        return max(self._retry_at, 0.0 if self._owed or self._to_assign else self._renew_at)

    def owe(self, workers: Mapping[int, str]) -> None:
        """These incarnations are dead: their tasks are to go back."""
        self._owed += workers.items()

    def forget(self) -> None:
        """In a child: none of this is its business."""
        self._owed.clear()
        self._to_assign.clear()

    def tend(self, seats: Iterable[Seat]) -> list[str]:
        """Do what is due. Gives the incarnations that lost their lease although their process lives."""
        now = monotonic()
        if now < self.next_at:
            return []
        lost: list[str] = []
        try:
            self._give_back()
            while self._to_assign:
                self._executor.run(self._to_assign[-1])
                del self._to_assign[-1]
            if now >= self._renew_at:
                lost = self._renew(seats)
                self._renew_at = now + self._plan.renew_s
        except errors.FairqueError as error:
            if not self._delay_s:
                log.error("Leases cannot be renewed; trying on: %s", error)
            self._delay_s = min(LAST_DELAY_S, self._delay_s * 2 or FIRST_DELAY_S)
            self._retry_at = monotonic() + self._delay_s
        else:
            if self._delay_s:
                log.info("Leases are renewed again.")
            self._delay_s = self._retry_at = 0.0
        return lost

    def settle_debts(self, patience_s: float) -> None:
        """Give back what the dead held, before this process ends. What fails comes back by its lease."""
        until = monotonic() + patience_s
        while self._owed:
            try:
                self._give_back()
            except errors.FairqueError as error:
                if monotonic() + FIRST_DELAY_S > until:
                    log.error("Tasks could not be handed back and return when their lease ends: %s", error)
                    return
                sleep(FIRST_DELAY_S)

    def _give_back(self) -> None:
        while self._owed:
            partition, worker = self._owed[0]
            again = recover.recover(self._keys[partition], worker, options=self._plan.options)
            try:
                count = self._executor.run(again)
            except errors.ScriptFailed as error:
                log.error(
                    "Tasks of %s return when its lease ends: %s", worker, error, extra={"worker": worker}
                )
            else:
                log.info("%d tasks of %s went back.", count, worker, extra={"worker": worker})
            del self._owed[0]

    def _renew(self, seats: Iterable[Seat]) -> list[str]:
        alive: dict[int, list[str]] = {}
        for seat in seats:
            for partition, worker in seat.workers.items():
                alive.setdefault(partition, []).append(worker)
        commands: list[Command[list[str]]] = [
            renew.renew(self._keys[partition], workers, options=self._plan.options)
            for partition, workers in alive.items()
        ]
        return [worker for lost in self._executor.run_many(commands) for worker in lost] if commands else []


def _assignments(plan: WorkerPlan) -> Iterator[Command[int]]:
    """Move the users of the plan to its group, wherever older settings have put them."""
    homes: dict[int, list[str]] = {}
    for user_id in plan.assigned:
        homes.setdefault(plan.space.partition_of(user_id), []).append(user_id)
    for partition, users in homes.items():
        for first in range(0, len(users), ASSIGN_AT_ONCE):
            some = users[first : first + ASSIGN_AT_ONCE]
            yield policy.assign(plan.space.all()[partition], plan.group, some, options=plan.options)
