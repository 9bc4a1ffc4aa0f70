"""What a supervisor tells the server about its children: they live, or they do not."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from .. import errors, policy, recover, renew

if TYPE_CHECKING:
    from ..wire.command import Command
    from ..wire.executor import Executor
    from .plan import WorkerPlan
    from .seat import Seat

Fault = Exception | None

log = logging.getLogger("django_fairque.worker")
# A script stays short, however many users a worker has.
ASSIGN_AT_ONCE = 1_000
ASSIGNMENTS_AT_ONCE = 8
FIRST_DELAY_S, LAST_DELAY_S = 0.1, 2.0


class Leases:
    """Renews the leases of the living, gives back the tasks of the dead, and keeps trying."""

    def __init__(self, plan: WorkerPlan, executor: Executor) -> None:
        self._plan = plan
        self._executor = executor
        self._keys = plan.space.all()
        self._owed: list[tuple[int, str]] = []
        self._to_assign = list(_assignments(plan))
        self._renew_at = monotonic() + plan.renew_s
        # One partition that is away must not keep the others from what they need.
        self._renewing = _Patience("Leases cannot be renewed")
        self._returning = _Patience("Tasks of dead processes cannot be given back")
        self._assigning = _Patience("Users cannot be assigned")

    @property
    def next_at(self) -> float:
        """When ``tend`` has something to do next."""
        moments = [max(self._renew_at, self._renewing.until)]
        if self._owed:
            moments.append(self._returning.until)
        if self._to_assign:
            moments.append(self._assigning.until)
        return min(moments)

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
        # First of all what cannot wait: whoever is not renewed loses what it runs.
        if now >= max(self._renew_at, self._renewing.until):
            lost, fault = self._renew(seats)
            self._renewing.note(fault)
            if fault is None:
                self._renew_at = now + self._plan.renew_s
        if self._owed and now >= self._returning.until:
            self._returning.note(self._give_back())
        if self._to_assign and now >= self._assigning.until:
            self._assigning.note(self._assign())
        return lost

    def settle_debts(self, patience_s: float) -> None:
        """Give back what the dead held, before this process ends. What fails comes back by its lease."""
        until = monotonic() + patience_s
        while self._owed:
            if fault := self._give_back():
                if monotonic() + FIRST_DELAY_S > until:
                    log.error("Tasks could not be handed back and return when their lease ends: %s", fault)
                    return
                sleep(FIRST_DELAY_S)

    def _give_back(self) -> Fault:
        owed, self._owed = self._owed, []
        commands = [
            recover.recover(self._keys[partition], worker, options=self._plan.options)
            for partition, worker in owed
        ]
        fault, replies = self._ask(commands)
        for (partition, worker), reply in zip(owed, replies, strict=True):
            extra = {"worker": worker}
            if isinstance(reply, errors.ScriptFailed):
                log.error("Tasks of %s return when its lease ends: %s", worker, reply, extra=extra)
            elif isinstance(reply, Exception):
                self._owed.append((partition, worker))
                fault = fault or reply
            else:
                log.info("%d tasks of %s went back.", reply, worker, extra=extra)
        return fault

    def _assign(self) -> Fault:
        """A few at a time, so that renewals never wait for all of them."""
        some, self._to_assign = self._to_assign[:ASSIGNMENTS_AT_ONCE], self._to_assign[ASSIGNMENTS_AT_ONCE:]
        fault, replies = self._ask(some)
        for command, reply in zip(some, replies, strict=True):
            if isinstance(reply, (errors.ScriptFailed, errors.Refused)):
                log.error("Users stay where they are, the server does not assign them: %s", reply)
            elif isinstance(reply, Exception):
                self._to_assign.append(command)
                fault = fault or reply
        return fault

    def _renew(self, seats: Iterable[Seat]) -> tuple[list[str], Fault]:
        alive: dict[int, list[str]] = {}
        for seat in seats:
            for partition, worker in seat.workers.items():
                alive.setdefault(partition, []).append(worker)
        fault, replies = self._ask(
            [
                renew.renew(self._keys[partition], workers, options=self._plan.options)
                for partition, workers in alive.items()
            ]
        )
        lost: list[str] = []
        for reply in replies:
            if isinstance(reply, Exception):
                fault = fault or reply
            else:
                lost += reply
        return lost, fault

    def _ask(self, commands: Sequence[Command[Any]]) -> tuple[Fault, list[Any]]:
        """What each was answered, which may be an error."""
        if not commands:
            return None, []
        try:
            return None, self._executor.run_many(commands, return_errors=True)
        except errors.FairqueError as error:
            return error, [error] * len(commands)


class _Patience:
    """How long to wait before something that failed is tried again, and what is said of it."""

    def __init__(self, trouble: str) -> None:
        self.until = 0.0
        self._trouble = trouble
        self._delay_s = 0.0

    def note(self, fault: Fault) -> None:
        """It was tried: with success, or not."""
        if fault is None:
            if self._delay_s:
                log.info("%s: that is over.", self._trouble)
            self.until = self._delay_s = 0.0
            return
        if not self._delay_s:
            log.error("%s; trying on: %s", self._trouble, fault)
        self._delay_s = min(LAST_DELAY_S, self._delay_s * 2 or FIRST_DELAY_S)
        self.until = monotonic() + self._delay_s


def _assignments(plan: WorkerPlan) -> Iterator[Command[int]]:
    """Move the users of the plan to its group, wherever older settings have put them."""
    homes: dict[int, list[str]] = {}
    for user_id in plan.assigned:
        homes.setdefault(plan.space.partition_of(user_id), []).append(user_id)
    for partition, users in homes.items():
        for first in range(0, len(users), ASSIGN_AT_ONCE):
            some = users[first : first + ASSIGN_AT_ONCE]
            yield policy.assign(plan.space.all()[partition], plan.group, some, options=plan.options)
