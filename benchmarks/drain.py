"""How fast are waiting tasks enqueued and run, and what does it cost? No-op tasks, results stored.

    python -m benchmarks.drain [--tasks 20000] [--users 16] [--processes 1] [--concurrency N] [--repeat 3]

Each repeat begins with an empty server. The tasks are enqueued by Django's Tasks API for the users in turn,
1,000 a call, and then one ``fairque_worker --burst`` runs them. Before that, single ``enqueue`` calls are
counted for a second. The table shows each repeat and the medians:

  enqueue/s   calls of ``enqueue``, one after another       bulk/s   tasks by ``enqueue_many``
  tasks/s     between the first and the last start          ms/1k    CPU per 1,000 tasks
  scripts     that clients ran, per task                    commands that the server ran, also in scripts

The ceiling is the machine: compare figures of one hour, best in one run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from statistics import median
from typing import Any

from benchmarks.standalone import stamps
from benchmarks.standalone.stage import Stage, cpu_s, stage
from django_fairque.engine.enqueue import CHUNK
from django_fairque.engine.wire.executor import Executor

Enough = Callable[[Iterable[float]], bool]

SINGLES_S = 1.0
# Whether tasks have begun or are all done is looked up this often; the rate comes from their stamps.
LOOK_S = 0.005
PATIENCE_S = 150.0
# Users are served in turn, so the first and the last tasks are among these.
EDGE = 1_000


@dataclass(frozen=True)
class Drained:
    """The figures of one repeat."""

    enqueue_rate: float
    bulk_rate: float
    rate: float
    worker_ms: float
    server_ms: float
    scripts: float
    commands: float


class Server:
    """What the server says of itself."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.pid = int(executor.server("server")["process_id"])

    def reset(self) -> None:
        """Nothing is stored and nothing was counted."""
        self._executor.call("FLUSHALL")
        self.forget()

    def forget(self) -> None:
        """Count commands from here on."""
        self._executor.call("CONFIG", "RESETSTAT")

    def calls(self) -> dict[str, int]:
        """How often each command ran."""
        found = self._executor.server("commandstats")
        return {
            name.removeprefix("cmdstat_"): int(about.partition("calls=")[2].partition(",")[0])
            for name, about in found.items()
        }


def fill(server: Server, tasks: int, users: int) -> tuple[float, float]:
    """Enqueue them all; single and bulk calls a second. Only what came in bulk stays."""
    from benchmarks.standalone.tasks import noop

    chosen = [noop.using(user_id=f"user-{n}") for n in range(users)]
    backend: Any = noop.get_backend()
    chosen[0].enqueue(0)  # connects
    made, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < SINGLES_S:
        chosen[made % users].enqueue(made)
        made += 1
    server.reset()
    began = time.perf_counter()
    for first in range(0, tasks, CHUNK):
        numbers = range(first, min(first + CHUNK, tasks))
        backend.enqueue_many([(chosen[n % users], (n,), {}) for n in numbers])
    return made / took, tasks / (time.perf_counter() - began)


def wait_for(worker: subprocess.Popen[bytes], taken: stamps.Stamps, numbers: range, enough: Enough) -> None:
    """Sleep until any or all of these tasks have ended."""
    until = time.monotonic() + PATIENCE_S
    while not enough(taken[2 * n + 1] for n in numbers):
        if worker.poll() is not None or time.monotonic() > until:
            raise SystemExit("The worker did not run the tasks.")
        time.sleep(LOOK_S)


def drain(here: Stage, tasks: int, users: int, options: list[str]) -> Drained:
    """Fill the queue and let a worker empty it."""
    taken = stamps.create(here.stamps, tasks)
    with Executor(here.url, role="worker") as executor:
        server = Server(executor)
        enqueue_rate, bulk_rate = fill(server, tasks, users)
        server.forget()
        edge = min(EDGE, tasks)
        with here.worker("--burst", *options) as worker:
            wait_for(worker, taken, range(edge), any)
            worker_s, server_s, from_s = cpu_s(worker.pid), cpu_s(server.pid), time.monotonic()
            wait_for(worker, taken, range(tasks - edge, tasks), all)
            wait_for(worker, taken, range(tasks), all)
            worker_s, server_s = cpu_s(worker.pid) - worker_s, cpu_s(server.pid) - server_s
            worker.wait(30)
        calls = server.calls()
    ends = sorted(taken[1::2])
    seen = sum(end > from_s for end in ends) / 1_000
    return Drained(
        enqueue_rate,
        bulk_rate,
        (tasks - 1) / (ends[-1] - ends[0]),
        1e3 * worker_s / seen,
        1e3 * server_s / seen,
        calls.get("evalsha", 0) / tasks,
        sum(calls.values()) / tasks,
    )


def line(what: str, one: Drained) -> str:
    """One row of the table."""
    return (
        f"{what:8}{one.enqueue_rate:10,.0f}{one.bulk_rate:10,.0f}{one.rate:10,.0f}{one.worker_ms:13.0f}"
        f"{one.server_ms:13.0f}{one.scripts:9.3f}{one.commands:9.2f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--concurrency", type=int, help="threads a process; the default of the settings")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    options = ["--processes", str(args.processes)]
    if args.concurrency:
        options += ["--concurrency", str(args.concurrency)]
    print(f"{args.tasks:,} tasks of {args.users:,} users, {args.processes} process(es)")
    print(f"{'':8}{'enqueue/s':>10}{'bulk/s':>10}{'tasks/s':>10}{'worker ms/1k':>13}", end="")
    print(f"{'server ms/1k':>13}{'scripts':>9}{'commands':>9}", flush=True)
    rounds = []
    with stage() as here:
        for number in range(1, args.repeat + 1):
            rounds.append(drain(here, args.tasks, args.users, options))
            print(line(f"{number}", rounds[-1]), flush=True)
    print(line("median", Drained(*(median(column) for column in zip(*map(astuple, rounds), strict=True)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
