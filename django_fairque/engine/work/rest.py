"""How a process sleeps while it has free slots: by the doorbells of all it may serve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from .. import errors
from ..claim import ring
from ..keys import EVERYBODY
from ..serve import Everyone, Group, User
from ..wire.bell import Bell

if TYPE_CHECKING:
    from ..claim import Claim
    from ..wire.executor import Executor
    from .outbox import Outbox
    from .plan import WorkerPlan

# A ring for users of a group of which this worker serves only some is mostly not for it. Having
# passed one on, it must not take it right back from the bell.
DEAF_S = 0.5
FOREVER_S = 3_600.0


class Rest:
    """The bells of one worker process. A ring wakes one worker: what cannot be used is passed on."""

    def __init__(self, plan: WorkerPlan, executor: Executor) -> None:
        self._plan = plan
        self._executor = executor
        self._all = plan.space.all()
        self._bell = Bell(executor, self._all)
        targets = (*plan.serve.home, *plan.serve.steal)
        self._everyone = any(isinstance(target, Everyone) for target in targets)
        self._own = {target.name for target in targets if isinstance(target, Group)}
        self._own |= {EVERYBODY} if self._everyone else set()
        users = any(isinstance(target, User) for target in targets)
        self._reach = set(plan.reach or (EVERYBODY,)) if users else set()
        self._known_bells: dict[frozenset[str], Sequence[Sequence[str]]] = {}
        self._listens_until = 0.0
        self._deaf_until = 0.0
        self._owes_a_ring = False
        self.alone = True
        """Whether nobody watches if this worker is alive."""

    def learn(self, claim: Claim) -> None:
        """Note which groups there are."""
        self.alone = not claim.groups
        if self._everyone and claim.groups:
            self._own.update(claim.groups)

    def sleep(self, outbox: Outbox, timeout: float, is_needed: Callable[[], bool]) -> bool:
        """Sleep until somebody rings, an attempt ends or ``timeout`` is over. Whether to ask for tasks."""
        now = monotonic()
        deaf_s = self._deaf_until - now
        bells = self._bells(self._own if deaf_s > 0 else self._own | self._reach)
        self._bell.arm(bells, min(self._plan.idle_s, deaf_s) if deaf_s > 0 else self._plan.idle_s)
        self._listens_until = now + self._plan.idle_s
        if deaf_s > 0:
            timeout = min(timeout, deaf_s)
        rang = self._wait(outbox, 1, timeout, is_needed)
        return rang or 0 < deaf_s <= monotonic() - now

    def used(self, got_any: bool) -> None:
        """A ring was answered with a claim. One that gave nothing may have been meant for others."""
        if not got_any and self._reach - self._own:
            self._deaf_until = monotonic() + DEAF_S
            self._owes_a_ring = True
            self._pass_on(self._reach - self._own)

    def busy(self, outbox: Outbox, mark: int, is_needed: Callable[[], bool]) -> None:
        """Sleep until attempts end. A ring that comes now, to a late listener, goes to somebody else."""
        if self._owes_a_ring:
            self._pass_on(self._own | self._reach)
        if monotonic() > self._listens_until:
            outbox.wait(mark, is_needed)
        elif self._wait(outbox, mark, FOREVER_S, is_needed, passes_on=True):
            self._owes_a_ring = True
            self._pass_on(self._own | self._reach)

    def hand_over(self) -> None:
        """Listen no more. A ring that may have come at the last moment goes to somebody else."""
        self._bell.close()
        if monotonic() <= self._listens_until or self._owes_a_ring:
            self._pass_on(self._own | self._reach)

    def close(self) -> None:
        """Let go of the connections."""
        self._bell.close()

    def _wait(
        self,
        outbox: Outbox,
        mark: int,
        timeout: float,
        is_needed: Callable[[], bool],
        *,
        passes_on: bool = False,
    ) -> bool:
        rang = False
        if outbox.arm(mark, is_needed):
            try:
                rang = self._bell.wait(timeout, outbox.fd)
            except errors.Unavailable:
                self._owes_a_ring = self._owes_a_ring or passes_on  # one may have been on its way
                raise
            finally:
                outbox.disarm()
        if rang and len(self._all) == 1:
            self._listens_until = 0.0
        return rang

    def _pass_on(self, groups: set[str]) -> None:
        places = [(queue, group) for queue in self._plan.serve.queues for group in sorted(groups)]
        self._executor.run_many([ring(keys, places) for keys in self._all])
        self._owes_a_ring = False

    def _bells(self, groups: set[str]) -> Sequence[Sequence[str]]:
        chosen = frozenset(groups)
        found = self._known_bells.get(chosen)
        if found is None:  # a worker that is woken for every task should not spell them out each time
            queues = self._plan.serve.queues
            found = self._known_bells[chosen] = [
                [keys.bell(queue, group) for queue in queues for group in sorted(groups)]
                for keys in self._all
            ]
        return found
