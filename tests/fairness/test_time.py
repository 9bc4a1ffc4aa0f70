"""``FAIRNESS = "time"``: users share the time of the workers, however long their tasks are."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from django_fairque.engine.options import Options
from django_fairque.engine.renew import renew
from django_fairque.engine.task import Policy

from .conftest import MakeWorld
from .names import crowds
from .shares import jain
from .world import START_MS

BY_TIME = Options(fairness="time", debt_limit=60, lease_ms=10**9)


def worked(w: Any, costs: dict[str, Any], slots: int, for_ms: int, renew_ms: int = 0) -> Counter[str]:
    """The milliseconds that each user's tasks ran when ``slots`` run side by side."""
    used: Counter[str] = Counter()
    running: list[tuple[int, int, Any]] = []
    number, renewed = 0, w.now_ms
    end = w.now_ms + for_ms
    while w.now_ms < end:
        for task in w.claimed(slots - len(running)) if len(running) < slots else ():
            cost = costs[task.user_id]
            cost = cost() if callable(cost) else cost
            used[task.user_id] += cost
            heapq.heappush(running, (w.now_ms + cost, number, task))
            number += 1
        if not running:
            break
        due = running[0][0]
        while renew_ms and due - renewed > renew_ms:
            renewed += renew_ms
            w.now_ms = max(w.now_ms, renewed)
            w.run(renew(w.keys, ["w"], options=w.options, now_ms=w.now_ms))
        w.now_ms = max(w.now_ms, due)
        done = []
        while running and running[0][0] <= w.now_ms:
            done.append(heapq.heappop(running)[2])
        w.settled(done)
    return used


@settings(max_examples=3)
@given(data=st.data())
def test_users_share_the_time_however_slow_their_tasks_are(world: MakeWorld, data: st.DataObject):
    users = data.draw(crowds(3, 3))
    w = world(options=BY_TIME)
    costs = dict(zip(users, data.draw(st.permutations((10, 40, 300))), strict=True))
    for user in users:
        w.add(user, 1_000)

    used = worked(w, costs, slots=4, for_ms=6_000)

    assert jain([used[user] for user in users]) >= 0.97


def test_weights_count_in_time(world: MakeWorld):
    w = world(options=BY_TIME, policies={"one": Policy(1), "three": Policy(3)})
    for user in w.policies:
        w.add(user, 900)

    used = worked(w, {"one": 20, "three": 60}, slots=2, for_ms=15_000)

    assert abs(used["three"] / used["one"] - 3) <= 0.3


def test_a_task_that_runs_on_is_paid_for_while_it_runs(world: MakeWorld):
    w = world(options=BY_TIME)
    w.add("long", 2)
    w.add("quick", 2)
    long, quick = sorted(w.claimed(2), key=lambda task: task.user_id)
    w.settled([quick])
    w.add("quick", 100)

    w.passes(5_000)
    w.run(renew(w.keys, ["w"], options=w.options, now_ms=w.now_ms))

    assert long in w.held["w"]
    assert w.served(50) == ["quick"] * 50


def test_a_wrong_estimate_is_put_right_and_no_refund_goes_below_the_clock(world: MakeWorld, server):
    w = world(options=BY_TIME)
    w.add("a", 50)
    w.add("b", 50)

    def tag(user: str) -> float:
        return float(server.cli("HGET", w.keys.user(user), "t:default"))

    def clock() -> float:
        return float(server.cli("HGET", w.keys.clock, "v:default:*"))

    estimates = []
    for ran in (400, 400, 10, 1, 0):
        tasks = w.claimed(2)
        w.passes(ran)
        before, now = {user: tag(user) for user in "ab"}, clock()
        w.settled(tasks)
        for user in "ab":
            # It never falls below the clock by a refund; only a tag that was below stays where it was.
            assert tag(user) >= min(now, before[user]) - 1e-6
        estimates.append(tag("a") - before["a"])

    assert estimates[0] > 0  # longer than thought: charged on
    assert min(estimates) < 0  # shorter than thought: paid back


@settings(max_examples=6)
@given(limit=st.sampled_from((0.05, 0.4, 5.0)), weight=st.sampled_from((0.5, 1.0, 4.0)))
def test_debt_is_bounded(world: MakeWorld, server, limit: float, weight: float):
    """Service by workers that were idle anyway is not held against a user for long."""
    w = world(
        options=Options(fairness="time", debt_limit=limit, lease_ms=10**9), policies={"a": Policy(weight)}
    )
    w.add("a", 40)
    for _ in range(4):
        tasks = w.claimed(8)
        w.passes(3_000)
        w.run(renew(w.keys, ["w"], options=w.options, now_ms=w.now_ms))
        w.settled(tasks)

        tag = float(server.cli("HGET", w.keys.user("a"), "t:default"))
        clock = float(server.cli("HGET", w.keys.clock, "v:default:*"))
        assert tag - clock <= 1_000 * limit / weight + 1e-6


def test_the_clock_never_goes_back_by_time_either(world: MakeWorld, server):
    w = world(options=BY_TIME)
    seen = [0.0]
    costs = {"a": 300, "b": 3, "c": 40}
    for user in costs:
        w.add(user, 60)
    ends: dict[int, list] = defaultdict(list)
    for step in range(120):
        for task in w.claimed(2):
            ends[step + costs[task.user_id] // 10].append(task)
        w.settled(ends.pop(step, []))
        w.passes(10)
        seen.append(float(server.cli("HGET", w.keys.clock, "v:default:*")))

    assert seen == sorted(seen)
    assert w.now_ms > START_MS


def test_a_newcomer_is_not_ahead_of_those_who_paid_more_than_estimated(world: MakeWorld):
    w = world(options=BY_TIME)
    w.add("a", 150)
    w.add("b", 150)
    ran = 10.0
    for _ in range(200):
        tasks = w.claimed()
        ran *= 1.02  # always longer than one would think
        w.passes(int(ran))
        w.settled(tasks)

    w.add("new", 10)
    turns: Counter[str] = Counter()
    for _ in range(6):
        tasks = w.claimed()
        turns.update(task.user_id for task in tasks)
        w.passes(int(ran))
        w.settled(tasks)

    assert turns["new"] <= 3
