"""The event loop that runs async tasks, in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

from .attempt import Runner, broken, describe
from .outbox import Outbox

if TYPE_CHECKING:
    from .pool import Begun

log = logging.getLogger("django_fairque.worker")


class Loop:
    """One event loop, started with the first async task. It outlives whatever a task raises."""

    def __init__(self, runner: Runner, outbox: Outbox, name: str) -> None:
        self.open = 0
        self._runner = runner
        self._outbox = outbox
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def begin(self, tasks: list[Begun]) -> None:
        """Run these tasks, beginning in their order. Whoever takes their outcomes lowers ``open`` again."""
        self.open += len(tasks)
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._serve, args=(self._loop,), name=self._name, daemon=True).start()
        self._loop.call_soon_threadsafe(self._spawn, self._loop, tasks)

    def close(self) -> None:
        """Let the loop end. Does not wait for it."""
        self._closing = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _spawn(self, loop: asyncio.AbstractEventLoop, tasks: list[Begun]) -> None:
        for task in tasks:
            # The set keeps a reference: the loop has weak ones only.
            running = loop.create_task(self._run(task))
            self._tasks.add(running)
            running.add_done_callback(self._tasks.discard)

    async def _run(self, task: Begun) -> None:
        desk, claimed = task
        try:
            outcome = await self._runner.arun(claimed)
        except BaseException as error:  # SystemExit would end the loop and all tasks on it
            outcome = broken(error)
        self._outbox.put((desk, claimed, outcome, self))

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while not self._closing:
            try:
                loop.run_forever()
            except BaseException as error:
                # SystemExit or KeyboardInterrupt in something a task left running on the loop.
                log.error("The event loop was interrupted and goes on: %s", describe(error))
        pending: set[asyncio.Task[Any]] = asyncio.all_tasks(loop)
        for leftover in pending:
            leftover.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        self._runner.close_thread()
        loop.close()
