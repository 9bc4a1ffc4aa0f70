"""The heart of a worker process: hand in what ended, take what may begin, sleep when there is neither."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from enum import Enum
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Protocol

from .. import errors, renew
from ..exchange import Exchange
from ..task import Finish, Park, Release
from ..wire.steps import pack
from . import report
from .attempt import Runner, describe
from .desk import Desk
from .loop import Loop
from .outbox import Outbox
from .pool import Begun, Pool

if TYPE_CHECKING:
    from ..claim import Claim
    from ..task import Claimed
    from ..wire.command import Command
    from .plan import WorkerPlan
    from .rest import Rest

log = report.log
# While others serve groups of their own, sleeping workers must show that they are there to help.
SIGN_OF_LIFE_S = 1.5
FIRST_DELAY_S, LAST_DELAY_S = 0.1, 2.0
# How often a process that has nothing left to do tries to leave properly.
GOODBYES = 3


class End(Enum):
    """Why a process ended by itself."""

    STOPPED = "stopped"
    DRAINED = "nothing is due"
    WORN = "ran as many tasks as it may"
    OWING = "could not say goodbye"
    """What it may hold is to be given back by somebody else."""


class Asks(Protocol):
    """The part of an executor that the pump needs."""

    def run_many(self, commands: Sequence[Command[Any]], *, return_errors: bool = False) -> list[Any]: ...


class Pump:
    """Runs tasks until it is told to stop. One thread, one round trip for many tasks.

    ``joined(partition, worker)`` is told each incarnation before it claims anything.
    """

    def __init__(
        self,
        plan: WorkerPlan,
        runner: Runner,
        executor: Asks,
        rest: Rest,
        outbox: Outbox,
        joined: Callable[[int, str], None] = lambda partition, worker: None,
    ) -> None:
        self.plan = plan
        self._runner = runner
        self._executor = executor
        self._rest = rest
        self._outbox = outbox
        self._joined = joined
        self._pool = Pool(runner, outbox, plan.concurrency, "fairque-task")
        self._loop = Loop(runner, outbox, "fairque-loop")
        self._desks = [self._new_desk(n) for n in range(plan.space.partitions)]
        self._hands: set[int] = set()
        self._left = plan.max_tasks
        self._floor = 0.0
        self._stopping = False
        self._delay_s = 0.0
        self._unknown: set[str] = set()
        self._suspects: set[str] = set()
        self._was_rung = False
        self._goodbyes = 0

    @property
    def running(self) -> int:
        """How many tasks are in the hands of threads and of the loop."""
        return len(self._hands)

    def stop(self) -> None:
        """Claim nothing more, finish what runs, then leave. Callable from any thread."""
        self._stopping = True
        self._outbox.wake()

    def doubt(self, worker: str) -> None:
        """Somebody says this incarnation lost its lease: ask for tasks soon, which settles it."""
        self._suspects.add(worker)
        self._outbox.wake()

    def run(self) -> End:
        """Serve until the end."""
        try:
            while True:
                try:
                    end = self._step()
                except errors.FairqueError as error:
                    self._suffer(error)
                    continue
                if end:
                    return end
        finally:
            self._pool.close()
            self._loop.close()

    def _step(self) -> End | None:
        self._collect()
        if not self._stopping and not all(desk.is_joined for desk in self._desks):
            self._join()
            return None
        if self._suspects:
            for desk in self._desks:
                desk.is_hungry |= desk.worker in self._suspects
            self._suspects.clear()
        free = self._free()
        asked = self._next() if free > 0 else None
        if asked or any(desk.verdicts for desk in self._desks):
            self._trip(asked, free)
            if self._delay_s:
                log.info("The server answers again.")
                self._delay_s = 0.0
        elif end := self._end():
            return end if self._leave() else End.OWING
        elif free > 0:
            self._sleep()
        else:
            self._wait()
        return None

    # Outcomes

    def _collect(self) -> None:
        loud, debug = log.isEnabledFor(logging.ERROR), log.isEnabledFor(logging.DEBUG)
        hands = self._hands
        for desk, claimed, outcome, source in self._outbox.take():
            if id(claimed) not in hands:
                continue  # a thread that was interrupted said it twice
            hands.discard(id(claimed))
            source.open -= 1
            if desk.is_lost:
                report.dropped(claimed, desk.worker)
                continue
            desk.note(claimed, outcome)
            if debug or (loud and type(outcome) is not Finish):
                report.ended(claimed, outcome, desk.worker)

    # The round trip

    def _free(self) -> int:
        """How many tasks may be claimed now."""
        if self._stopping:
            return 0
        free = self.plan.concurrency - self.running
        return free if self._left is None else min(free, self._left)

    def _next(self) -> Desk | None:
        """The partition whose turn it is: of those that may have something, the one that lags behind."""
        if len(self._desks) == 1:
            desk = self._desks[0]
            return desk if desk.is_hungry or desk.verdicts else None
        hungry = [desk for desk in self._desks if desk.is_hungry or desk.verdicts]
        if not hungry:
            return None
        desk = min(hungry, key=lambda desk: desk.clock)
        # A partition that was empty for long starts where the others are, not where it once stopped.
        self._floor = max(self._floor, min((d.clock for d in hungry if d.is_backlogged), default=0.0))
        return desk

    def _trip(self, asked: Desk | None, free: int) -> None:
        both = asked is not None and asked.can_exchange
        told = [desk for desk in self._desks if desk.verdicts and not (both and desk is asked)]
        try:
            commands: list[Command[Any]] = [desk.settle(self.plan) for desk in told]
            if asked:
                command = asked.exchange if both else asked.claim
                commands.append(command(self.plan, free, self._floor))
            replies = self._executor.run_many(commands, return_errors=True)
        except errors.FairqueError:
            raise
        except Exception as error:
            if not self._isolate_unfit([*told, asked] if asked and both else told):
                raise
            log.error("An outcome cannot be sent: %s", describe(error))
            return
        fault: Exception | None = None
        if asked and both:
            fault, replies[-1] = self._exchanged(asked, replies[-1])
        for desk, reply in zip(told, replies, strict=False):
            fault = self._settled(desk, reply) or fault
        if asked:
            fault = self._claimed(asked, replies[-1]) or fault
        if fault:
            raise fault

    def _isolate_unfit(self, desks: Sequence[Desk]) -> bool:
        """Whether it was an outcome that could not be packed; it costs its own task only."""
        found = False
        for desk in desks:
            try:
                pack(desk.settle(self.plan).args)
            except Exception as error:
                desk.isolate(describe(error))
                found = True
        return found

    def _exchanged(self, desk: Desk, reply: Any) -> tuple[Exception | None, Any]:
        """What became of the outcomes, and the reply to the claim that went with them."""
        if isinstance(reply, Exchange):
            claim = reply.claim if reply.claim is not None else errors.LeaseLost(desk.worker)
            return self._settled(desk, reply.settled), claim
        if isinstance(reply, errors.ScriptFailed):
            desk.can_exchange = False  # which of the two it chokes on shows when they go apart
        return None, reply

    def _settled(self, desk: Desk, reply: Any) -> Exception | None:
        if not isinstance(reply, Exception):
            for verdict, settled in zip(desk.sent, reply, strict=True):
                if settled == "lost":
                    report.lost(verdict.task_id, desk.worker)
            desk.settled()
            desk.is_hungry = True  # what ended may have freed its user's next task
            return None
        if isinstance(reply, errors.Unavailable):
            return reply
        if isinstance(reply, errors.LeaseLost):
            self._renounce(desk)
            return None
        if isinstance(reply, errors.ScriptFailed) and not desk.isolate(describe(reply)):
            return None
        return reply

    def _claimed(self, desk: Desk, reply: Any) -> Exception | None:
        if isinstance(reply, errors.LeaseLost):
            self._renounce(desk)
            return None
        if isinstance(reply, Exception):
            return reply
        desk.answered(reply)
        self._rest.learn(reply)
        self._begin(desk, reply)
        if self._was_rung:
            self._was_rung = False
            self._rest.used(bool(reply.tasks))
        return None

    def _begin(self, desk: Desk, claim: Claim) -> None:
        runner, debug = self._runner, log.isEnabledFor(logging.DEBUG)
        sync: list[Begun] = []
        awaiting: list[Begun] = []
        for claimed in claim.tasks:
            if self._stopping:
                desk.note(claimed, Release())
            elif not runner.knows(claimed.name):
                self._park(desk, claimed)
            else:
                (awaiting if runner.is_async(claimed.name) else sync).append((desk, claimed))
                self._hands.add(id(claimed))
                if debug:
                    report.begun(claimed, desk.worker)
        if self._left is not None:
            self._left -= len(sync) + len(awaiting)
        if sync:
            self._pool.begin(sync)
        if awaiting:
            self._loop.begin(awaiting)

    def _park(self, desk: Desk, claimed: Claimed) -> None:
        outcome = Park(self.plan.park_ms, f"No worker that saw it knows a task named {claimed.name!r}.")
        desk.note(claimed, outcome)
        if claimed.name not in self._unknown:
            self._unknown.add(claimed.name)
            report.ended(claimed, outcome, desk.worker)

    # Leases

    def _new_desk(self, index: int) -> Desk:
        return Desk(index, self.plan.space.all()[index], renew.new_worker(self.plan.name))

    def _join(self) -> None:
        """Take up the lease of each new incarnation, and say so before anything is claimed under it."""
        fresh = [desk for desk in self._desks if not desk.is_joined]
        for desk, reply in zip(
            fresh,
            self._executor.run_many([desk.join(self.plan) for desk in fresh], return_errors=True),
            strict=True,
        ):
            if isinstance(reply, errors.LeaseLost):
                # It had joined, the reply got lost, and its lease ended before it asked again.
                self._desks[desk.index] = self._new_desk(desk.index)
                continue
            if isinstance(reply, Exception):
                raise reply
            desk.is_joined = True
            self._joined(desk.index, desk.worker)

    def _renounce(self, desk: Desk) -> None:
        log.error(
            "Worker %s was taken for dead; its %d tasks belong to others now. It goes on under a new name.",
            desk.worker, self.running, extra={"worker": desk.worker},
        )  # fmt: skip
        for verdict in desk.verdicts:
            report.lost(verdict.task_id, desk.worker)
        desk.is_lost = True
        self._desks[desk.index] = self._new_desk(desk.index)

    # Rest

    def _sleep(self) -> None:
        """Slots are free and nothing is ready: sleep until a ring, an outcome, or something is due."""
        pause = self.plan.idle_s if self._rest.alone else min(self.plan.idle_s, SIGN_OF_LIFE_S)
        ask_at = [min(desk.asked_at + pause, desk.due_at) for desk in self._desks]
        timeout = max(0.0, min(ask_at) - monotonic())
        try:
            self._was_rung = self._rest.sleep(self._outbox, timeout, self._is_needed)
        except errors.Unavailable:
            # A ring may have been on its way over the connection that broke.
            self._was_rung = True
            for desk in self._desks:
                desk.is_hungry = True
            raise
        now = monotonic()
        for desk, moment in zip(self._desks, ask_at, strict=True):
            desk.is_hungry |= self._was_rung or now >= moment

    def _wait(self) -> None:
        """All slots are taken, or nothing more is claimed: sleep until attempts end."""
        mark = 1 if self._stopping else self.running
        self._rest.busy(self._outbox, mark, self._is_needed)

    def _is_needed(self) -> bool:
        """Whether there is something to do that no outcome told of."""
        return bool(self._suspects) or (self._stopping and not self.running)

    def _suffer(self, error: Exception) -> None:
        """Note that the server is away, once, and let some time pass."""
        if not self._delay_s:
            log.error("The worker keeps trying: %s", error)
        self._delay_s = min(LAST_DELAY_S, self._delay_s * 2 or FIRST_DELAY_S)
        sleep(self._delay_s)

    # The end

    def _end(self) -> End | None:
        if self.running:
            return None
        if self._stopping:
            return End.STOPPED
        if self._left is not None and self._left <= 0:
            return End.WORN
        if self.plan.burst:
            soon = monotonic() + self.plan.patience_s
            if all(desk.due_at > soon for desk in self._desks):
                return End.DRAINED
        return None

    def _leave(self) -> bool:
        """Whether the server knows that this process ends."""
        self._goodbyes += 1
        try:
            self._say_goodbye()
        except errors.Unavailable as error:
            if self._goodbyes < GOODBYES:
                raise
            log.error("The server cannot be told that this process ends: %s", error)
            return False
        return True

    def _say_goodbye(self) -> None:
        self._rest.hand_over()
        # A claim whose reply was lost may have taken tasks: these go back, too.
        leaves = [renew.leave(desk.keys, desk.worker, options=self.plan.options) for desk in self._desks]
        for reply in self._executor.run_many(leaves, return_errors=True):
            if isinstance(reply, errors.Unavailable):
                raise reply
            if isinstance(reply, Exception):
                log.error("What this worker holds returns when its lease ends: %s", reply)
