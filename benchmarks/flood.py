"""How long do quiet users wait while one user has 100,000 tasks waiting? One real run.

    python -m benchmarks.flood [--duration 60] [--async] [--out run.jsonl] [--compare FILE]

One user's flood waits before the worker starts; then 99 quiet users send tasks at random moments that keep
60 % of 16 slots busy. Tasks sleep 50 ms on average (exponential, 2 ms at least). A real ``fairque_worker``
with one process and 16 threads serves them from a server of its own.

The run is written as one JSON object a line: ``tenant``, ``arrive`` (just before the call of ``enqueue``),
``start``, ``end`` (stamped by the task) and ``cost``, in seconds since the first task of the flood began;
the flood arrives at zero. What had not started by the end of the run has no ``start``, and the cost it would
have had; of the flood only as many of these are written as keep it waiting to the end whatever the schedule,
because the fluid ideal copies the flood's backlog at each event.

``--compare`` (or ``fair_sim.py`` in the folder BENCH_HARNESS) names a program that is run as
``FILE compare run.jsonl --slots 16`` and tells what an ideal queue does with the same arrivals. The exit
status is 1 when it finds a goal missed, or when the quiet users' median is more than 5 ms above the ideal.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.standalone import stamps
from benchmarks.standalone.stage import Stage, stage

if TYPE_CHECKING:
    from django_fairque import FairqueTask

SLOTS = 16
MEAN_S, LEAST_S = 0.05, 0.002
QUIET_USERS, QUIET_SHARE = 99, 0.6
FLOOD_USER = "noisy"
# Quiet tasks come from the second second on, and the last of them have one more to be served in.
MARGIN_S = 1.0
MEDIAN_SLACK_S = 0.005


@dataclass(frozen=True)
class Planned:
    """A task before the run: when it shall arrive, and how long it sleeps."""

    user: str
    at: float
    cost: float


def planned(duration: float, flood: int, seed: int) -> list[Planned]:
    """The flood, then the quiet users' tasks in the order of their arrival."""
    rng = random.Random(seed)

    def cost() -> float:
        return max(LEAST_S, rng.expovariate(1 / MEAN_S))

    quiet = []
    rate = QUIET_SHARE * SLOTS / MEAN_S / QUIET_USERS
    for n in range(QUIET_USERS):
        at = MARGIN_S + rng.expovariate(rate)
        while at < duration - MARGIN_S:
            quiet.append(Planned(f"q{n:02}", at, cost()))
            at += rng.expovariate(rate)
    quiet.sort(key=lambda task: task.at)
    return [Planned(FLOOD_USER, 0.0, cost()) for _ in range(flood)] + quiet


def first_start(taken: stamps.Stamps) -> float:
    """The moment at which the first task of the flood began."""
    for _ in range(3_000):
        if began := taken[0]:
            return began
        time.sleep(0.01)
    raise SystemExit("The worker started nothing within 30 s.")


def send(tasks: list[Planned], first: int, nap: FairqueTask[Any, Any], zero: float) -> list[float]:
    """Enqueue the tasks from number ``first`` on at their moments; when each call was really made."""
    chosen = {task.user: nap.using(user_id=task.user) for task in tasks}
    calls = []
    gc.freeze()
    for number, task in enumerate(tasks, first):
        while (ahead := zero + task.at - time.monotonic()) > 0:
            time.sleep(ahead)
        calls.append(time.monotonic())
        chosen[task.user].enqueue(number, task.cost)
    return calls


def play(here: Stage, tasks: list[Planned], flood: int, duration: float, awaits: bool) -> list[Run]:
    """Run it all; what happened until ``duration`` seconds after the first start."""
    from benchmarks.standalone.tasks import anap, nap

    task = anap if awaits else nap
    taken = stamps.create(here.stamps, len(tasks))
    began = time.monotonic()
    task.enqueue_many(
        [(number, planned.cost) for number, planned in enumerate(tasks[:flood])], user_id=FLOOD_USER
    )
    print(f"{flood:,} tasks of one user wait; enqueued in {time.monotonic() - began:.1f} s", flush=True)
    with here.worker("--processes", "1", "--concurrency", str(SLOTS)):
        zero = first_start(taken)
        calls = send(tasks[flood:], flood, task, zero)
        late = sorted(call - zero - task.at for call, task in zip(calls, tasks[flood:], strict=True))
        time.sleep(max(0.0, zero + duration + 0.1 - time.monotonic()))
    p50, p99 = (1e3 * late[int(part * (len(late) - 1))] for part in (0.5, 0.99))
    print(f"{len(calls):,} quiet tasks sent, late by {p50:.1f} ms in the median, {p99:.1f} ms at p99")
    arrivals = [0.0] * flood + [call - zero for call in calls]
    return [
        Run(task.user, arrive, taken[2 * n] - zero, taken[2 * n + 1] - zero, task.cost)
        if 0 < taken[2 * n] < zero + duration and taken[2 * n + 1]
        else Run(task.user, arrive, None, None, task.cost)
        for n, (task, arrive) in enumerate(zip(tasks, arrivals, strict=True))
    ]


@dataclass(frozen=True)
class Run:
    """What became of one task, in seconds since the beginning."""

    user: str
    arrive: float
    start: float | None
    end: float | None
    cost: float

    @property
    def wait(self) -> float | None:
        return None if self.start is None else self.start - self.arrive

    def line(self, until: float) -> str:
        """As ``fair_sim.py`` reads it. A task is cut at the end of the run, its cost is not."""
        fields = {"tenant": self.user, "arrive": round(self.arrive, 6), "cost": round(self.cost, 6)}
        if self.start is not None and self.end is not None:
            fields |= {"start": round(self.start, 6), "end": round(min(self.end, until), 6)}
            fields["cost"] = round(self.end - self.start, 6)
        return json.dumps(fields)


def written(runs: list[Run], duration: float) -> Iterator[Run]:
    """All that started, all of the quiet users, and enough of the flood's rest."""
    spare = 2 * SLOTS + int(duration * SLOTS / MEAN_S)
    for run in runs:
        if run.user == FLOOD_USER and run.start is None:
            spare -= 1
            if spare < 0:
                continue
        yield run


def summary(runs: list[Run]) -> str:
    """The quiet users' waits in one line."""
    quiet = [run for run in runs if run.user != FLOOD_USER]
    waits = sorted(run.wait for run in quiet if run.wait is not None)
    flood = sum(run.user == FLOOD_USER and run.start is not None for run in runs)
    p50, p99 = (1e3 * waits[int(part * (len(waits) - 1))] for part in (0.5, 0.99))
    return (
        f"quiet users: {len(waits):,} of {len(quiet):,} tasks started, waited p50 {p50:.1f} ms,"
        f" p99 {p99:.1f} ms, at most {1e3 * waits[-1]:.1f} ms; the flood got {flood:,} starts"
    )


def compare(program: Path, out: Path) -> int:
    """Run the comparison; 1 when it or the median misses its goal."""
    command: list[str | Path] = [sys.executable, program, "compare", out, "--slots", str(SLOTS)]
    done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE)
    print(done.stdout, end="")
    p50s = {
        line.split("quiet dwell")[0].strip(): float(found[1])
        for line in done.stdout.splitlines()
        if (found := re.search(r"quiet dwell p50 +([0-9.]+)s", line))
    }
    above = p50s["REAL RUN"] - p50s["SFQ ideal"]
    ok = above <= MEDIAN_SLACK_S
    print(f"{'PASS' if ok else 'FAIL'}: quiet p50 {1e3 * above:.0f} ms above the ideal, goal 5 ms")
    return done.returncode or int(not ok)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--duration", type=float, default=60.0, help="seconds, 5 to 600")
    parser.add_argument("--flood", type=int, default=100_000, help="tasks that wait from the beginning")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--async", dest="awaits", action="store_true", help="tasks on the event loop")
    parser.add_argument("--out", type=Path, help="keep the run in this file")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="the fair_sim.py to hold it against")
    args = parser.parse_args()
    duration = min(max(args.duration, 5.0), 600.0)
    program = args.compare
    if program is None and "BENCH_HARNESS" in os.environ:
        program = Path(os.environ["BENCH_HARNESS"]) / "fair_sim.py"
    with stage() as here:
        runs = play(here, planned(duration, args.flood, args.seed), args.flood, duration, args.awaits)
    print(summary(runs), flush=True)
    with tempfile.TemporaryDirectory(prefix="fairque-bench-") as folder:
        out = args.out or Path(folder) / "run.jsonl"
        out.write_text("".join(run.line(duration) + "\n" for run in written(runs, duration)))
        return compare(program, out) if program else 0


if __name__ == "__main__":
    sys.exit(main())
