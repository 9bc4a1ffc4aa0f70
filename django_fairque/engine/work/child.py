"""One worker process: a pump, and a thread that listens to the supervisor."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from ..wire.executor import Executor
from .attempt import Runner
from .link import Link
from .outbox import Outbox
from .pump import End, Pump
from .rest import Rest

if TYPE_CHECKING:
    from .plan import WorkerPlan

log = logging.getLogger("django_fairque.worker")

# Exit codes the supervisor understands: all is well; replace me at once; give back what I may hold.
DONE, WORN, OWING = 0, 75, 76


def serve(plan: WorkerPlan, link: Link, runner: Runner, executor: Executor) -> int:
    """Run tasks until the supervisor says stop, or the plan says it is enough. Gives the exit code."""
    outbox = Outbox()
    pump = Pump(
        plan, runner, executor, Rest(plan, executor), outbox, lambda n, worker: link.send("joined", n, worker)
    )
    # Ctrl-C reaches every process of a terminal; the supervisor decides what it means.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: pump.stop())
    threading.Thread(target=_listen, args=(link, pump), name="fairque-link", daemon=True).start()
    end = pump.run()
    log.info("Worker process %d ends: %s.", os.getpid(), end.value, extra={"worker": plan.name})
    return {End.WORN: WORN, End.OWING: OWING}.get(end, DONE)


def fork(body: Callable[[], int]) -> int:
    """Run ``body`` in a new process that ends with the code it gives. The new process's id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        code = body()
    except BaseException:
        log.critical("A worker process failed.", exc_info=True)
    finally:
        _leave(code)
    raise AssertionError("unreachable")


def _listen(link: Link, pump: Pump) -> None:
    try:
        while True:
            for message in link.read():
                if message[0] == "stop":
                    pump.stop()
                elif message[0] == "lost":
                    pump.doubt(message[1])
    except EOFError:
        # Nobody renews the leases any more. Others get the tasks when these end; two must not run them.
        os._exit(1)


def _leave(code: int) -> NoReturn:
    # Not sys.exit: the stack and the exit handlers below are the supervisor's.
    try:
        logging.shutdown()
    finally:
        os._exit(code)
