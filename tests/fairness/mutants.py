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
    right: str
    wrong: str
    tests: str = "tests/fairness"


CHECKED = "lane.tag = math.max(v, math.min(lane.tag, v + debt_limit / weight))"

MUTANTS = (
    Mutant(
        "the clock follows the last start and does not advance by itself",
        "local v = fq.clock_get(place.v) + cost / math.max(fq.clock_get(place.w), policy.weight)",
        "local v = fq.clock_get(place.v)",
    ),
    Mutant(
        "the clock ignores the tag of who is served",
        "if lane.tag > v then v = lane.tag end",
        "if false then v = lane.tag end",
    ),
    Mutant(
        "a turn is not charged",
        "lane.tag = lane.tag + cost / policy.weight",
        "lane.tag = lane.tag + 0",
    ),
    Mutant(
        "weights do not divide the charge",
        "lane.tag = lane.tag + cost / policy.weight",
        "lane.tag = lane.tag + cost",
    ),
    Mutant("debt is forgotten", CHECKED, "lane.tag = v"),
    Mutant(
        "idling earns credit",
        CHECKED,
        "lane.tag = math.min(lane.tag, v + debt_limit / weight)",
    ),
    Mutant("debt has no limit", CHECKED, "lane.tag = math.max(v, lane.tag)"),
    Mutant(
        "the cap is not looked at",
        "user.flight < policy.cap)",
        "user.flight < 1000)",
    ),
    Mutant("the cap lets one more in", "user.flight < policy.cap)", "user.flight <= policy.cap)"),
    Mutant("the rate is not looked at", "if at > now then return at end", ""),
    Mutant(
        "the rate is not charged",
        "user.tat = math.max(user.tat, now) + policy.rate",
        "user.tat = now",
    ),
    Mutant(
        "a burst too many",
        "user.tat - (policy.burst - 1) * policy.rate",
        "user.tat - policy.burst * policy.rate",
    ),
    Mutant("a pause is not looked at", "return not user.paused and", "return"),
    Mutant(
        "ties go by name",
        "return tag + seq % TIES * math.max(LEAST_STEP, math.abs(tag) * STEP)",
        "return tag",
    ),
    Mutant(
        "whoever leaves keeps its weight in the clock",
        "local weight = fq.clock_get(place.w) - user.policy.weight",
        "local weight = fq.clock_get(place.w)",
    ),
    Mutant(
        "whoever comes adds no weight to the clock",
        "fq.clock_set(place.w, fq.clock_get(place.w) + weight)",
        "",
    ),
    Mutant(
        "stolen users come before one's own",
        "local source, served = fq.next_source(home)",
        "local source, served = fq.next_source(steal)",
    ),
    Mutant(
        "users of dead workers wait for ever",
        "> ALIVE_MS then",
        "> 1e15 then",
    ),
    Mutant(
        "a change of the group drops lead and lag",
        "lane.tag = fq.clock_get(fq.place_of(queue, group).v) + lane.tag"
        " - fq.clock_get(fq.place_of(queue, from).v)",
        "",
    ),
    Mutant(
        "equal times, equal scores",
        "local last = fq.clock_get('lt') + 1\n",
        "local last = 0\n",
    ),
    Mutant(
        "the boost of a priority has the wrong sign",
        "fq.next_us() - tonumber(kind.priority) * age_us",
        "fq.next_us() + tonumber(kind.priority) * age_us",
    ),
    Mutant(
        "priority is all, age is nothing",
        "fq.next_us() - tonumber(kind.priority) * age_us",
        "fq.next_us() - tonumber(kind.priority) * age_us * 1000",
    ),
    Mutant(
        "a promoted task stands last",
        "score = fq.exact(tonumber(due[i + 1]) -",
        "score = fq.exact(fq.next_us() + 1000 -",
    ),
    Mutant(
        "critical tasks wait their turn in the lane",
        "if lane.critical > 0 then\n    lane.critical",
        "if lane.critical > lane.n then\n    lane.critical",
    ),
    Mutant(
        "critical tasks are last in, first out",
        "redis.call('RPUSH', fq.lane_key(kind.user",
        "redis.call('LPUSH', fq.lane_key(kind.user",
    ),
    Mutant(
        "what comes back stands in reverse",
        "return a.order > b.order end",
        "return a.order < b.order end",
    ),
    Mutant(
        "a flight that ended counts on",
        "user.flight = user.flight - 1",
        "user.flight = user.flight",
    ),
    Mutant(
        "the real run time is not charged",
        "local extra, lane, place = ran_ms - estimated,",
        "local extra, lane, place = 0,",
    ),
    Mutant(
        "a refund goes below the clock",
        "lane.tag = math.max(lane.tag - cost / user.policy.weight,"
        " math.min(lane.tag, fq.clock_get(place.v)))",
        "lane.tag = lane.tag - cost / user.policy.weight",
    ),
    Mutant(
        "what runs on is not charged",
        "if extra > 0 then",
        "if false then",
    ),
    Mutant(
        "nobody wakes a user whose rate allows a start",
        "  fq.wake(256)\n",
        "",
    ),
    Mutant(
        "sources do not take turns",
        "local n, last = #sources, sources.last or 0",
        "local n, last = #sources, 0",
    ),
    Mutant(
        "a batch is taken from one user",
        "while i >= source.at and entries[i].tag > tag do",
        "while i >= source.at do",
    ),
    Mutant(
        "stolen users drift inside a claim",
        "push(source, entry, pops.tag - entry.offset)",
        "push(source, entry, pops.tag - (entry.offset > 0 and fq.clock_get(place.v) or 0))",
    ),
    Mutant(
        "a claim looks at everybody who is ready",
        "0, source.most - 1, 'WITHSCORES')",
        "0, -1, 'WITHSCORES')\n"
        "    for i = 1, #found, 2 do redis.call('ZSCORE', source.place.ready, found[i]) end",
        "tests/cost",
    ),
    Mutant(
        "full users stay in the ready set of their other queues",
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
    scripts = [path for path in (folder / LUA).rglob("*.lua") if mutant.right in path.read_text()]
    if len(scripts) != 1 or scripts[0].read_text().count(mutant.right) != 1:
        raise SystemExit(f"{mutant.name!r}: the line to break is nowhere, or not only once")
    scripts[0].write_text(scripts[0].read_text().replace(mutant.right, mutant.wrong))
    command = [sys.executable, "-m", "pytest", mutant.tests, "-x", "-q", "-k", "not async"]
    command += ["-p", "no:cacheprovider"]
    if mutant.tests == "tests/fairness":
        command.append("--hypothesis-profile=first-failure")  # its conftest knows it
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
        right = Mutant("nothing is broken", CHECKED, CHECKED)
        if failed := killed_by(right, Path(folder) / "m"):
            raise SystemExit(f"{failed} fails without any mutant")
        for mutant in chosen:
            killer = killed_by(mutant, Path(folder) / "m")
            survivors += killer is None
            print(f"| {mutant.name} | {killer or '**survived**'} |", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants were noticed.")
    return survivors


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
