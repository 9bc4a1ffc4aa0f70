"""The threads that run sync tasks."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from .attempt import Runner, broken
from .outbox import Outbox

if TYPE_CHECKING:
    from ..task import Claimed
    from .desk import Desk

Begun = tuple["Desk", "Claimed"]


class Pool:
    """Up to ``size`` threads over one queue, started when there is work for them."""

    def __init__(self, runner: Runner, outbox: Outbox, size: int, name: str) -> None:
        self._runner = runner
        self._outbox = outbox
        self.open = 0
        self._size = size
        self._name = name
        self._todo: SimpleQueue[Begun | None] = SimpleQueue()
        self._started = 0
        self._born = 0
        self._lock = threading.Lock()

    def begin(self, tasks: list[Begun]) -> None:
        """Run these tasks. Whoever takes their outcomes lowers ``open`` again."""
        self.open += len(tasks)
        for task in tasks:
            self._todo.put(task)
        while self._started < min(self.open, self._size):
            self._start()

    def close(self) -> None:
        """Let the threads end once nothing is left to run. Does not wait for them."""
        for _ in range(self._started):
            self._todo.put(None)

    def _start(self) -> None:
        with self._lock:
            self._started += 1
            self._born += 1
            name = f"{self._name}-{self._born}"
        # A daemon: a task that hangs must not keep the process from ending after its grace period.
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def _serve(self) -> None:
        runner, outbox, todo = self._runner, self._outbox, self._todo
        get, empty, run, put = todo.get, todo.empty, runner.run, outbox.put
        task: Begun | None = None
        closing = False
        try:
            while True:
                task = get()
                if task is None:
                    closing = True
                    return
                if empty():
                    outbox.nudge()
                desk, claimed = task
                try:
                    outcome = run(claimed)
                except BaseException as error:  # SystemExit too: it ends the attempt, not the worker
                    outcome = broken(error)
                put((desk, claimed, outcome, self), hurry=empty())
                task = None
        except BaseException as error:
            # Only something thrown into the thread from outside gets here. The slot must not be lost;
            # should the outcome be in the outbox already, the pump knows that it had it.
            if task is not None:
                put((*task, broken(error), self))
        finally:
            with self._lock:
                self._started -= 1
            if not closing:
                self._start()
            runner.close_thread()
