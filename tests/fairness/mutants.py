"""Does a test fail when a line that fairness depends on is broken?

    python -m tests.fairness.mutants [NAME ...]

Each mutant is a copy of the package with one piece of Lua changed; the fairness and cost tests must fail
on it. Prints a table; the exit status is the number of mutants that survived.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LUA = Path("django_fairque/engine/lua")
WITHIN_SECONDS = 300


@dataclass(frozen=True)
class Mutant:
    """One broken line."""

    name: str
    file: str
    right: str
    wrong: str
    tests: str = "tests/fairness"


CHECKED = "lane.tag = math.max(v, math.min(lane.tag, v + debt_limit / weight))"

MUTANTS = (
    Mutant(
        "the clock follows the last start and does not advance by itself",
        "include/turn",
        "local v = fq.clock_get(place.v) + cost / math.max(fq.clock_get(place.w), policy.weight)",
        "local v = fq.clock_get(place.v)",
    ),
    Mutant(
        "the clock ignores the tag of who is served",
        "include/turn",
        "if lane.tag > v then v = lane.tag end",
        "if false then v = lane.tag end",
    ),
    Mutant(
        "a turn is not charged",
        "include/turn",
        "lane.tag = lane.tag + cost / policy.weight",
        "lane.tag = lane.tag + 0",
    ),
    Mutant(
        "weights do not divide the charge",
        "include/turn",
        "lane.tag = lane.tag + cost / policy.weight",
        "lane.tag = lane.tag + cost",
    ),
    Mutant("debt is forgotten", "include/user", CHECKED, "lane.tag = v"),
    Mutant(
        "idling earns credit",
        "include/user",
        CHECKED,
        "lane.tag = math.min(lane.tag, v + debt_limit / weight)",
    ),
    Mutant("debt has no limit", "include/user", CHECKED, "lane.tag = math.max(v, lane.tag)"),
    Mutant(
        "the cap is not looked at",
        "include/user",
        "user.flight < policy.cap)",
        "user.flight < 1000)",
    ),
    Mutant(
        "the cap lets one more in", "include/user", "user.flight < policy.cap)", "user.flight <= policy.cap)"
    ),
    Mutant("the rate is not looked at", "include/user", "if at > now then return at end", ""),
    Mutant(
        "the rate is not charged",
        "include/turn",
        "user.tat = math.max(user.tat, now) + policy.rate",
        "user.tat = now",
    ),
    Mutant(
        "a burst too many",
        "include/user",
        "user.tat - (policy.burst - 1) * policy.rate",
        "user.tat - policy.burst * policy.rate",
    ),
    Mutant("a pause is not looked at", "include/user", "return not user.paused and", "return"),
    Mutant(
        "ties go by name",
        "include/clock",
        "return tag + seq % TIES * math.max(LEAST_STEP, math.abs(tag) * STEP)",
        "return tag",
    ),
    Mutant(
        "whoever leaves keeps its weight in the clock",
        "include/user",
        "local weight = fq.clock_get(place.w) - user.policy.weight",
        "local weight = fq.clock_get(place.w)",
    ),
    Mutant(
        "whoever comes adds no weight to the clock",
        "include/user",
        "fq.clock_set(place.w, fq.clock_get(place.w) + weight)",
        "",
    ),
    Mutant(
        "stolen users come before one's own",
        "claim",
        """    local sources = home
    local source, served = fq.next_source(home)
    if not source then
      sources = steal
      source, served = fq.next_source(steal)""",
        """    local sources = steal
    local source, served = fq.next_source(steal)
    if not source then
      sources = home
      source, served = fq.next_source(home)""",
    ),
    Mutant(
        "users of dead workers wait for ever",
        "claim",
        "> ALIVE_MS then",
        "> 1e15 then",
    ),
    Mutant(
        "a change of the group drops lead and lag",
        "include/move",
        "lane.tag = fq.clock_get(fq.place_of(queue, group).v) + lane.tag"
        " - fq.clock_get(fq.place_of(queue, from).v)",
        "",
    ),
    Mutant(
        "equal times, equal scores",
        "include/clock",
        "local last = fq.clock_get('lt') + 1\n",
        "local last = 0\n",
    ),
    Mutant(
        "the boost of a priority has the wrong sign",
        "enqueue",
        "fq.next_us() - tonumber(kind.priority) * age_us",
        "fq.next_us() + tonumber(kind.priority) * age_us",
    ),
    Mutant(
        "priority is all, age is nothing",
        "enqueue",
        "fq.next_us() - tonumber(kind.priority) * age_us",
        "fq.next_us() - tonumber(kind.priority) * age_us * 1000",
    ),
    Mutant(
        "a promoted task stands last",
        "include/house",
        "score = fq.exact(tonumber(due[i + 1]) -",
        "score = fq.exact(fq.next_us() + 1000 -",
    ),
    Mutant(
        "critical tasks wait their turn in the lane",
        "include/turn",
        "if lane.critical > 0 then\n    lane.critical",
        "if lane.critical > lane.n then\n    lane.critical",
    ),
    Mutant(
        "critical tasks are last in, first out",
        "enqueue",
        "redis.call('RPUSH', fq.lane_key(kind.user",
        "redis.call('LPUSH', fq.lane_key(kind.user",
    ),
    Mutant(
        "what comes back stands in reverse",
        "include/requeue",
        "return a.order > b.order end",
        "return a.order < b.order end",
    ),
    Mutant(
        "a flight that ended counts on",
        "include/user",
        "user.flight = user.flight - 1",
        "user.flight = user.flight",
    ),
    Mutant(
        "the real run time is not charged",
        "settle",
        "local extra, lane, place = ran_ms - estimated,",
        "local extra, lane, place = 0,",
    ),
    Mutant(
        "a refund goes below the clock",
        "include/user",
        "lane.tag = math.max(lane.tag - cost / user.policy.weight,"
        " math.min(lane.tag, fq.clock_get(place.v)))",
        "lane.tag = lane.tag - cost / user.policy.weight",
    ),
    Mutant(
        "what runs on is not charged",
        "renew",
        "if extra > 0 then",
        "if false then",
    ),
    Mutant(
        "nobody wakes a user whose rate allows a start",
        "include/house",
        "  fq.wake(256)\n",
        "",
    ),
    Mutant(
        "sources do not take turns",
        "include/turn",
        "local n, last = #sources, sources.last or 0",
        "local n, last = #sources, 0",
    ),
    Mutant(
        "a batch is taken from one user",
        "include/serve",
        "while i >= source.at and entries[i].tag > tag do",
        "while i >= source.at do",
    ),
    Mutant(
        "stolen users drift inside a claim",
        "include/turn",
        "push(source, entry, pops.tag - entry.offset)",
        "push(source, entry, pops.tag - (entry.offset > 0 and fq.clock_get(place.v) or 0))",
    ),
    Mutant(
        "a claim looks at everybody who is ready",
        "include/serve",
        "0, source.most - 1, 'WITHSCORES')",
        "0, -1, 'WITHSCORES')\n"
        "    for i = 1, #found, 2 do redis.call('ZSCORE', source.place.ready, found[i]) end",
        "tests/cost",
    ),
    Mutant(
        "full users stay in the ready set of their other queues",
        "include/turn",
        "for queue in pairs(user.waiting) do fq.exit(user, queue) end",
        "",
    ),
)


def killed_by(mutant: Mutant, folder: Path) -> str | None:
    """The first test that fails on the mutant, or ``None`` when all pass."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("django_fairque", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    script = folder / LUA / f"{mutant.file}.lua"
    text = script.read_text()
    if text.count(mutant.right) != 1:
        raise SystemExit(f"{mutant.name!r}: the line to break is no longer in {mutant.file}.lua, or twice")
    script.write_text(text.replace(mutant.right, mutant.wrong))
    command = [sys.executable, "-m", "pytest", mutant.tests, "-x", "-q", "-k", "not async"]
    command += ["--hypothesis-profile=first-failure", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        run = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=WITHIN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "(no end)"
    if run.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) \S+::(\w+)", run.stdout, re.MULTILINE)
    if run.returncode != 1 or not failed:
        raise SystemExit(
            f"{mutant.name!r}: the tests did not run:\n{run.stdout[-2_000:]}{run.stderr[-2_000:]}"
        )
    return failed[1]


def main(wanted: list[str]) -> int:
    chosen = [m for m in MUTANTS if not wanted or any(word in m.name for word in wanted)]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="fairque-", dir="/tmp") as folder:
        # The unbroken package must pass, or nothing is shown.
        right = Mutant("nothing is broken", "claim", "--@include turn\n", "--@include turn\n")
        if failed := killed_by(right, Path(folder) / "m"):
            raise SystemExit(f"{failed} fails without any mutant")
        for mutant in chosen:
            killer = killed_by(mutant, Path(folder) / "m")
            survivors += killer is None
            print(f"| {mutant.name} | `{mutant.file}` | {killer or '**survived**'} |", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants were noticed.")
    return survivors


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
