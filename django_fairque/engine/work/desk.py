"""One partition as one worker process sees it."""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from .. import claim, exchange, renew, settle
from ..settle import Verdict
from ..task import Bury

if TYPE_CHECKING:
    from ..claim import Claim
    from ..exchange import Exchange
    from ..keys import Keys
    from ..task import Claimed, Outcome
    from ..wire.command import Command
    from .plan import WorkerPlan

# Tasks that end together would begin together: the server would work while the tasks wait, and the other
# way round. In parts, the first begin again while the last are being settled. It also bounds what a script
# does after a long outage with many slots.
AT_ONCE = 40


class Desk:
    """The incarnation of a worker in a partition, and what it has yet to tell and to ask there.

    A desk that lost its lease is left for a new one. Outcomes know the desk they were claimed at,
    so nothing is ever settled under an incarnation that did not claim it.
    """

    __slots__ = (
        "_asked", "_at_once", "_call", "_exchanges", "asked_at", "clock", "due_at", "index", "is_backlogged",
        "is_hungry", "is_joined", "is_lost", "keys", "sent", "verdicts", "worker",
    )  # fmt: skip

    def __init__(self, index: int, keys: Keys, worker: str) -> None:
        self.index = index
        self.keys = keys
        self.worker = worker
        self.is_joined = False
        self.is_lost = False
        self.is_hungry = True
        """Whether asking for tasks may give some."""
        self.is_backlogged = False
        """Whether the last claim left somebody waiting."""
        self.clock = 0.0
        self.asked_at = 0.0
        self.due_at = inf
        """When something becomes due, as far as the last claim knew."""
        self.verdicts: list[Verdict] = []
        self.sent: list[Verdict] = []
        self._at_once = AT_ONCE
        self._exchanges = True
        self._call = 1
        self._asked = 0  # the limit of a claim that was not answered, and must be repeated as it was

    def join(self, plan: WorkerPlan) -> Command[None]:
        """Take up the lease."""
        return renew.join(self.keys, self.worker, plan.about, group=plan.group, options=plan.options)

    def note(self, claimed: Claimed, outcome: Outcome) -> None:
        """Remember an outcome for the next trip."""
        self.verdicts.append(Verdict(claimed.id, claimed.call, outcome))

    def settle(self, plan: WorkerPlan) -> Command[Any]:
        """The oldest outcomes, in one command. They stay noted until ``settled``."""
        self.sent = self.verdicts[: self._at_once]
        return settle.settle(self.keys, self.worker, self.sent, options=plan.options)

    def settled(self) -> None:
        """What was sent has arrived."""
        del self.verdicts[: len(self.sent)]
        if not self.verdicts:
            self._at_once, self._exchanges = AT_ONCE, True

    def isolate(self, reason: str) -> bool:
        """The server refused what was sent: find the outcome it chokes on, and bury that task.

        ``False`` when even that was tried, and the outcome can only be given up.
        """
        if len(self.sent) > 1:
            self._at_once = 1
            return True
        (verdict,) = self.sent
        # A burial may fail for the traceback that goes with it; without one there is nothing left to omit.
        if isinstance(verdict.outcome, Bury) and not verdict.outcome.error:
            self.settled()
            return False
        buried = Bury(f"The server refused its outcome: {reason}"[:500])
        self.verdicts[0] = verdict._replace(outcome=buried)
        return True

    def claim(self, plan: WorkerPlan, limit: int, floor: float) -> Command[Claim]:
        """Ask for tasks; after a lost reply, exactly the question that was asked then."""
        self._asked = self._asked or min(limit, AT_ONCE)
        return claim.claim(
            self.keys, self.worker, self._call, self._asked, plan.serve, options=plan.options, floor=floor
        )

    @property
    def can_exchange(self) -> bool:
        """Whether outcomes and the next claim go together: a script that failed is tried in parts."""
        return self._exchanges and bool(self.verdicts)

    @can_exchange.setter
    def can_exchange(self, value: bool) -> None:
        self._exchanges = value

    def exchange(self, plan: WorkerPlan, limit: int, floor: float) -> Command[Exchange]:
        """Tell the oldest outcomes and ask for tasks, as ``settle`` and ``claim`` do."""
        self.sent = self.verdicts[: self._at_once]
        self._asked = self._asked or min(limit, AT_ONCE)
        return exchange.exchange(
            self.keys, self.worker, self.sent, self._call, self._asked, plan.serve,
            options=plan.options, floor=floor,
        )  # fmt: skip

    def answered(self, claim: Claim) -> None:
        """The claim was answered: the next one is another."""
        # One that was cut short at its limit did not look at what comes after it, nor at what is due when.
        cut_short = len(claim.tasks) >= self._asked
        self._asked = 0
        self._call += 1
        self.clock = claim.clock
        self.asked_at = monotonic()
        # Not a moment early: a claim before the time finds nothing and has to be repeated.
        self.due_at = inf if claim.wait_ms is None else self.asked_at + (claim.wait_ms + 1) / 1_000
        self.is_backlogged = claim.more
        self.is_hungry = claim.more or cut_short
