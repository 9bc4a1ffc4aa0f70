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


MUTANTS = (
    Mutant(
        "the clock follows the last start and does not advance by itself",
        "include/turn",
        "v = v + cost / math.max(weights, policy.weight)",
        "v = v + 0",
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
    Mutant("debt is forgotten", "include/user", "local tag = entry.tag\n", "local tag = v\n"),
    Mutant("idling earns credit", "include/user", "if tag < v then tag = v end", ""),
    Mutant("debt has no limit", "include/user", "if tag > most then tag = most end", ""),
    Mutant(
        "the cap is not looked at",
        "include/user",
        "(cap == 0 or user.flight < cap)",
        "(cap == 0 or user.flight < 1000)",
    ),
    Mutant("the cap lets one more in", "include/user", "user.flight < cap)", "user.flight <= cap)"),
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
        "local weight = clock_get(field) - user.policy.weight",
        "local weight = clock_get(field)",
    ),
    Mutant(
        "whoever comes adds no weight to the clock",
        "include/user",
        "clock_set('w:' .. place, clock_get('w:' .. place) + user.policy.weight)",
        "",
    ),
    Mutant(
        "stolen users come before one's own",
        "claim",
        "next_source(home, turn + #order) or next_source(steal, turn + #order)",
        "next_source(steal, turn + #order) or next_source(home, turn + #order)",
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
        "entry.tag = clock_get('v:' .. queue .. ':' .. group) + entry.tag - clock_get('v:' .. queue .. ':' .. from)",
        "",
    ),
    Mutant("equal times, equal scores", "include/clock", "local last = clock_get('lt') + 1\n", "local last = 0\n"),
    Mutant(
        "the boost of a priority has the wrong sign",
        "enqueue",
        "next_us() - tonumber(kind.priority) * age_us",
        "next_us() + tonumber(kind.priority) * age_us",
    ),
    Mutant(
        "priority is all, age is nothing",
        "enqueue",
        "next_us() - tonumber(kind.priority) * age_us",
        "next_us() - tonumber(kind.priority) * age_us * 1000",
    ),
    Mutant(
        "a promoted task stands last",
        "include/house",
        "score = exact(tonumber(due[i + 1]) -",
        "score = exact(next_us() + 1000 -",
    ),
    Mutant(
        "critical tasks wait their turn in the lane",
        "include/turn",
        "local critical = lane.critical > 0 and 1 or 0",
        "local critical = lane.critical > 0 and lane.critical >= lane.n and 1 or 0",
    ),
    Mutant(
        "critical tasks are last in, first out",
        "enqueue",
        "redis.call('RPUSH', lane_key(kind.user",
        "redis.call('LPUSH', lane_key(kind.user",
    ),
    Mutant(
        "what comes back stands in reverse",
        "include/requeue",
        "return a.order > b.order end",
        "return a.order < b.order end",
    ),
    Mutant("a flight that ended counts on", "include/user", "user.flight = user.flight - 1", "user.flight = user.flight"),
    Mutant(
        "the real run time is not charged",
        "settle",
        "if by_time and outcome ~= 'release' then charge(",
        "if false then charge(",
    ),
    Mutant(
        "a refund goes below the clock",
        "include/user",
        "lane.tag = math.max(lane.tag - cost / user.policy.weight, math.min(lane.tag, v))",
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
        "  wake(256)\n",
        "",
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
        "push(source, entry, pops.tag - (entry.offset > 0 and clock_get('v:' .. where) or 0))",
    ),
    Mutant(
        "a claim looks at everybody who is ready",
        "include/serve",
        "0, source.most - 1, 'WITHSCORES')",
        "0, -1, 'WITHSCORES')\n    for i = 1, #found, 2 do redis.call('ZSCORE', ready_key(source.queue, source.group), found[i]) end",
        "tests/cost",
    ),
    Mutant(
        "full users stay in the ready set",
        "include/turn",
        "      for queue in pairs(user.waiting) do exit(user, queue) end\n      local until_ms",
        "      local until_ms",
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
        raise SystemExit(f"{mutant.name!r}: the tests did not run:\n{run.stdout[-2_000:]}{run.stderr[-2_000:]}")
    return failed[1]


def main(wanted: list[str]) -> int:
    chosen = [m for m in MUTANTS if not wanted or any(word in m.name for word in wanted)]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="fairque-", dir="/tmp") as folder:
        # The unbroken package must pass, or nothing is shown.
        right = Mutant("nothing is broken", "claim", "--@include turn", "--@include turn")
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
