"""The parent process: starts the worker processes, keeps their leases, replaces those that die.

It has one thread, so that forking a replacement is as safe as forking the first, and it runs no
task, so that no task can keep it from renewing the leases.
"""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from .child import OWING, fork
from .leases import Leases
from .link import Link
from .seat import Seat

if TYPE_CHECKING:
    from ..wire.executor import Executor
    from .plan import WorkerPlan

log = logging.getLogger("django_fairque.worker")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# A second signal means now. What is left for killing the children and giving their tasks back:
HURRY_S = 1.5
LOOK_AT_CODE_S = 1.0


class Ended(Enum):
    """Why the worker ended."""

    STOPPED = "stopped"
    DRAINED = "nothing is due"
    CODE_CHANGED = "its code changed"


class Supervisor:
    """Runs ``body(link)`` in ``plan.processes`` children. To be used in the main thread.

    ``body`` gives the child's exit code: see ``child.serve``. ``changed`` is asked every second
    whether the worker should end because its code is another by now.
    """

    def __init__(
        self,
        plan: WorkerPlan,
        body: Callable[[Link], int],
        executor: Executor,
        *,
        changed: Callable[[], bool] | None = None,
    ) -> None:
        self._plan = plan
        self._body = body
        self._leases = Leases(plan, executor)
        self._changed = changed
        self._look_at = monotonic() + LOOK_AT_CODE_S
        self._seats = [Seat(n + 1) for n in range(plan.processes)]
        self._selector = selectors.DefaultSelector()
        self._signals = 0
        self._kill_at: float | None = None
        self._ended = Ended.DRAINED
        self._news = ""

    def run(self) -> Ended:
        """Serve until told to stop by a signal, or until a burst has ended."""
        wake_in, wake_out = os.pipe()
        os.set_blocking(wake_in, False)
        os.set_blocking(wake_out, False)
        before = {number: signal.signal(number, self._on_signal) for number in STOP_SIGNALS}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        old_fd = signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
        self._selector.register(wake_in, selectors.EVENT_READ)
        gc.freeze()  # what is loaded now stays shared with the children
        try:
            while True:
                self._fill_seats()
                if not any(seat.is_taken for seat in self._seats) and not self._pending():
                    break
                self._watch(wake_in)
            self._leases.settle_debts(patience_s=HURRY_S)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.set_wakeup_fd(old_fd)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            os.close(wake_in)
            os.close(wake_out)
        return self._ended  # not before the last moment in which a signal may change it

    def _pending(self) -> bool:
        return not self._is_stopping and any(not seat.is_done for seat in self._seats)

    @property
    def _is_stopping(self) -> bool:
        return self._kill_at is not None

    def _watch(self, wake_in: int) -> None:
        for key, _ in self._selector.select(self._timeout()):
            if key.fd == wake_in:
                with suppress(BlockingIOError):
                    while os.read(wake_in, 512):
                        pass
            else:
                self._hear(key.data)
        self._tell()
        self._reap()
        now = monotonic()
        if self._kill_at is not None and now >= self._kill_at:
            self._kill()
        for worker in self._leases.tend(self._seats):
            for seat in self._seats:
                if worker in seat.workers.values() and seat.link:
                    seat.link.send("lost", worker)
        if self._changed and not self._is_stopping and now >= self._look_at:
            self._look_at = now + LOOK_AT_CODE_S
            if self._changed():
                self._stop(Ended.CODE_CHANGED)

    def _tell(self) -> None:
        news, self._news = self._news, ""
        if news:
            log.info(news, extra={"worker": self._plan.name})

    def _timeout(self) -> float:
        moments = [self._leases.next_at]
        if self._kill_at is not None:
            moments.append(self._kill_at)
        else:
            moments += [seat.start_at for seat in self._seats if not seat.is_taken and not seat.is_done]
            if self._changed:
                moments.append(self._look_at)
        return max(0.0, min(moments) - monotonic())

    # Children

    def _fill_seats(self) -> None:
        if self._is_stopping:
            return
        now = monotonic()
        for seat in self._seats:
            if not seat.is_taken and not seat.is_done and now >= seat.start_at:
                self._start(seat)

    def _start(self, seat: Seat) -> None:
        ours, theirs = Link.pair()
        # A signal that reaches the child before it has handlers of its own must not run the supervisor's.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            pid = fork(lambda: self._be_child(ours, theirs))
        except OSError as error:
            log.error("No process could be started: %s", error)
            ours.close()
            seat.failed()
            return
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        seat.taken(pid, ours)
        self._selector.register(ours, selectors.EVENT_READ, seat)
        log.info("Worker process %d started (pid %d).", seat.number, pid, extra={"worker": self._plan.name})
        if self._is_stopping:  # the signal came while the child was being born
            ours.send("stop")

    def _be_child(self, ours: Link, link: Link) -> int:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        self._selector.close()
        # The supervisor's ends must be held by it alone, or its death would go unnoticed.
        ours.close()
        for seat in self._seats:
            if seat.link:
                seat.link.close()
        self._leases.forget()
        return self._body(link)

    def _hear(self, seat: Seat) -> None:
        try:
            seat.listen()
        except EOFError:
            self._forget(seat)  # it is about to be reaped

    def _forget(self, seat: Seat) -> None:
        if seat.link:
            with suppress(KeyError):
                self._selector.unregister(seat.link)

    def _reap(self) -> None:
        for pid, status in _dead([seat.pid for seat in self._seats if seat.is_taken]):
            seat = next((seat for seat in self._seats if seat.pid == pid), None)
            if seat is None:
                continue
            self._forget(seat)
            workers = seat.left()
            code = os.waitstatus_to_exitcode(status)
            if not seat.judge(code, burst=self._plan.burst):
                how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
                level = logging.WARNING if self._is_stopping else logging.ERROR
                log.log(
                    level, "Worker process %d (pid %d) died by %s; its tasks go back. %s",
                    seat.number, pid, how,
                    "" if self._is_stopping else f"The next starts in {seat.pause_s:.1f} s.",
                    extra={"worker": self._plan.name},
                )  # fmt: skip
                self._leases.owe(workers)
            else:
                if code == OWING:
                    self._leases.owe(workers)
                log.info(
                    "Worker process %d (pid %d) ended.", seat.number, pid, extra={"worker": self._plan.name}
                )

    # The end

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # Nothing is logged here: the signal may have come in the middle of writing a line.
        self._signals += 1
        if self._signals == 1:
            self._stop(Ended.STOPPED)
        elif self._signals == 2:
            # Whatever the loop is waiting for, this ends it.
            signal.signal(signal.SIGALRM, lambda *_: _die(number))
            signal.setitimer(signal.ITIMER_REAL, HURRY_S)
            self._kill_at = monotonic()
            self._kill()

    def _stop(self, why: Ended) -> None:
        if self._kill_at is None:
            self._ended = why
            self._news = f"The worker ends ({why.value}): finishing what runs."
            self._kill_at = monotonic() + self._plan.grace_s
            for seat in self._seats:
                if seat.link:
                    seat.link.send("stop")
        elif why is Ended.STOPPED and self._ended is Ended.CODE_CHANGED:
            self._ended = why
            self._news = "The worker was told to stop and does not start anew."

    def _kill(self) -> None:
        for seat in self._seats:
            if seat.is_taken:
                self._news = "What runs is not waited for any longer: worker processes are killed."
                with suppress(ProcessLookupError):
                    os.kill(seat.pid, signal.SIGKILL)
        self._kill_at = monotonic() + 1.0  # and once more, should one have been born meanwhile


def _dead(children: list[int]) -> list[tuple[int, int]]:
    """The processes that ended, with their wait status."""
    found = []
    # As the first process of a container it inherits every orphan; else only its own are its business.
    for who in [-1] * 1_000 if os.getpid() == 1 else children:
        try:
            pid, status = os.waitpid(who, os.WNOHANG)
        except ChildProcessError:
            continue
        if pid:
            found.append((pid, status))
        elif who == -1:
            break
    return found


def _die(number: int) -> NoReturn:
    os._exit(128 + number)
