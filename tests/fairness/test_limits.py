"""A cap or a rate holds in every interleaving, and being held up costs nobody else anything."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_fairque.engine.options import Options
from django_fairque.engine.policy import override, pause, resume
from django_fairque.engine.renew import leave
from django_fairque.engine.serve import Serve
from django_fairque.engine.task import Bury, Finish, Park, Policy, Priority, Release, Retry
from django_fairque.validate import rate_interval_ms
from tests.server import Server

from .conftest import MakeWorld
from .names import crowds
from .truth import Truth

OUTCOMES = (Finish(), Retry(0), Retry(40), Bury("no"), Release(), Park(30, "unknown"))

interleavings = st.lists(
    st.one_of(
        st.tuples(st.just("enqueue"), st.integers(0, 2), st.integers(1, 12)),
        st.tuples(st.just("claim"), st.integers(0, 1), st.integers(1, 10)),
        st.tuples(st.just("claim"), st.integers(0, 1), st.integers(1, 10)),
        st.tuples(st.just("settle"), st.integers(0, 1), st.sampled_from(OUTCOMES)),
        st.tuples(st.just("kill"), st.integers(0, 1), st.booleans()),
        st.tuples(st.just("pause"), st.integers(0, 2), st.booleans()),
        st.tuples(st.just("pass"), st.just(0), st.sampled_from((1, 7, 50, 333, 5_000))),
    ),
    min_size=25,
    max_size=45,
)


@settings(max_examples=25)
@given(data=st.data())
def test_no_user_exceeds_its_cap_or_its_rate_in_any_interleaving(world: MakeWorld, data: st.DataObject):
    users = data.draw(crowds(3, 3))
    w = world(
        options=Options(lease_ms=10**9),
        policies={
            users[0]: Policy(2, max_concurrency=data.draw(st.integers(1, 4))),
            users[1]: Policy(
                rate_interval_ms=data.draw(st.sampled_from((10.0, 33.3, 250.0))),
                rate_burst=data.draw(st.integers(1, 3)),
            ),
            users[2]: Policy(max_concurrency=2, rate_interval_ms=20.0),
        },
    )
    workers = ["w0", "w1"]
    lives = 2
    held: dict[str, list] = defaultdict(list)
    starts: dict[str, list[int]] = defaultdict(list)

    for what, which, detail in data.draw(interleavings):
        if what == "enqueue":
            w.add(users[which], detail, priority=data.draw(st.sampled_from((0, 5, Priority.CRITICAL))))
        elif what == "claim":
            for task in w.claimed(detail, workers[which]):
                held[workers[which]].append(task)
                starts[task.user_id].append(w.now_ms)
        elif what == "settle":
            mine = held[workers[which]]
            some, held[workers[which]] = mine[::2], mine[1::2]
            w.settled(some, detail, workers[which])
        elif what == "kill":
            if detail:
                w.killed(workers[which])
            else:
                w.run(leave(w.keys, workers[which], now_ms=w.now_ms))
            held.pop(workers[which], None)
            workers[which] = f"w{lives}"
            lives += 1
        elif what == "pause":
            w.run((pause if detail else resume)(w.keys, users[which], now_ms=w.now_ms))
        else:
            w.passes(detail)

        flying = Counter(task.user_id for tasks in held.values() for task in tasks)
        for user, policy in w.policies.items():
            assert not policy.max_concurrency or flying[user] <= policy.max_concurrency
    for user in users[1:]:
        policy = w.policies[user]
        for at, first in enumerate(starts[user]):
            later = starts[user][at + policy.rate_burst :]
            # After a burst each start waits one interval: that is N starts in N intervals, burst aside.
            for n, start in enumerate(later, start=1):
                assert start - first >= n * policy.rate_interval_ms - 1e-6


def test_at_most_n_tasks_start_in_any_window_of_the_period(world: MakeWorld):
    w = world(policies={"a": Policy(rate_interval_ms=rate_interval_ms("5/s"))})
    w.add("a", 200)

    starts = []
    for _ in range(600):
        w.passes(13)
        tasks = w.claimed(10)
        starts += [w.now_ms] * len(tasks)
        w.settled(tasks)

    assert all(sixth - first >= 1_000 for first, sixth in zip(starts, starts[5:], strict=False))
    assert len(starts) >= 0.9 * 600 * 13 / 200


def test_a_rate_of_the_user_does_not_slow_others_and_the_claim_says_when_to_return(world: MakeWorld):
    w = world(policies={"slow": Policy(rate_interval_ms=100)})
    w.add("slow", 5)
    w.add("free", 5)

    assert w.served(4) == ["slow", "free", "free", "free"]
    answer = w.asked(4)
    assert [task.user_id for task in answer.tasks] == ["free", "free"]
    assert answer.wait_ms == 100
    w.passes(99)
    assert w.served(4) == []
    w.passes(1)
    assert w.served(4) == ["slow"]


@pytest.mark.parametrize("kind", ["cap", "rate", "pause"])
def test_a_user_held_up_by_its_own_limit_returns_without_a_credit(world: MakeWorld, kind: str):
    policy = {
        "cap": Policy(max_concurrency=1),
        "rate": Policy(rate_interval_ms=1_000),
        "pause": Policy(),
    }[kind]
    w = world(policies={"held": policy})
    w.add("held", 200)
    w.add("b", 400)
    first = w.claimed(2)
    if kind == "pause":
        w.run(pause(w.keys, "held", now_ms=w.now_ms))
    assert w.served(100) == ["b"] * 100

    w.passes(2_000)
    w.settled(first)
    if kind == "pause":
        w.run(resume(w.keys, "held", now_ms=w.now_ms))
    w.run(override(w.keys, "held", Policy(), now_ms=w.now_ms))

    assert abs(Counter(w.served(40))["held"] - 20) <= 1


def test_a_paused_user_is_not_served_and_its_tasks_stay(world: MakeWorld):
    w = world()
    w.run(pause(w.keys, "a", now_ms=w.now_ms))
    w.add("a", 3)
    assert w.served(5) == []

    w.run(resume(w.keys, "a", now_ms=w.now_ms))
    assert w.served(2) == ["a", "a"]
    w.run(pause(w.keys, "a", now_ms=w.now_ms))
    w.settled(w.held["w"], Retry(0))

    assert w.served(5) == []
    w.run(resume(w.keys, "a", now_ms=w.now_ms))
    assert w.served(5) == ["a", "a", "a"]


def test_an_operators_policy_holds_for_a_user_nobody_has_seen_yet(world: MakeWorld):
    w = world()
    w.run(override(w.keys, "new", Policy(max_concurrency=1), now_ms=w.now_ms))
    w.add("new", 5)

    assert w.served(5) == ["new"]


def test_limits_that_change_take_effect_at_the_next_claim(world: MakeWorld):
    w = world()
    w.add("a", 50)
    assert len(w.claimed(6)) == 6

    w.run(override(w.keys, "a", Policy(max_concurrency=8), now_ms=w.now_ms))
    assert len(w.claimed(10)) == 2
    w.run(override(w.keys, "a", Policy(max_concurrency=3), now_ms=w.now_ms))
    w.settled(w.held["w"][:5])
    assert w.claimed(10) == []
    w.settled(w.held["w"][:1])
    assert len(w.claimed(10)) == 1
    w.run(override(w.keys, "a", None, now_ms=w.now_ms))
    assert len(w.claimed(10)) == 10


def test_a_policy_that_comes_with_an_enqueue_holds_from_then_on(world: MakeWorld):
    w = world()
    w.add("a", 10, policy=Policy(max_concurrency=2))
    assert len(w.claimed(5)) == 2

    w.add("a", 1, policy=Policy(max_concurrency=4))
    assert len(w.claimed(5)) == 2

    w.add("a", 1, policy=Policy(max_concurrency=1))
    w.settled(w.held["w"][:3])
    assert w.claimed(5) == []


def test_one_cap_for_all_queues_of_a_user(world: MakeWorld, server: Server):
    w = world(policies={"a": Policy(max_concurrency=3)})
    w.add("a", 5, queue="one")
    w.add("a", 5, queue="two")

    assert len(w.claimed(8, serve=Serve(queues=("one",)))) == 3
    Truth(server, w.keys, w.now_ms).check()  # it is not ready in the other queue either
    assert w.claimed(8, serve=Serve(queues=("two",))) == []


def test_full_users_do_not_hide_those_who_can_be_served(world: MakeWorld):
    w = world(policies={f"full-{n}": Policy(max_concurrency=1) for n in range(60)})
    for user in w.policies:
        w.add(user, 3)
    assert len(w.claimed(60)) == 60

    w.add("free", 3)

    assert w.served(5) == ["free"] * 3


def test_starts_come_one_interval_apart_with_fractions_of_a_millisecond(world: MakeWorld):
    interval = rate_interval_ms("7/m") / 1_000  # 8.57 ms
    w = world(policies={"a": Policy(rate_interval_ms=interval)})
    w.add("a", 100)

    starts = []
    for _ in range(400):
        w.passes(1)
        starts += [w.now_ms] * len(w.claimed(5))

    assert min(b - a for a, b in pairwise(starts)) >= interval
    assert len(starts) >= 400 // 9
