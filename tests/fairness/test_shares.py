"""Turns are shared by weight, whoever comes, goes, crashes, or is called what."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_fairque.engine.options import Options
from django_fairque.engine.policy import override
from django_fairque.engine.serve import Serve
from django_fairque.engine.task import Park, Policy, Priority, Release, Retry
from tests.server import Server

from .conftest import MakeWorld
from .names import HOSTILE, crowds
from .shares import CLOSE, Drift

weights = st.one_of(st.sampled_from((1.0, 2.0, 5.0)), st.floats(0.01, 100, allow_subnormal=False))


def shared_by(policies: dict[str, Policy], turns: Counter[str]) -> float:
    """How far the shares are from the weights: 0.01 is one percent."""
    whole, weight = turns.total(), sum(policy.weight for policy in policies.values())
    return max(abs(turns[user] / whole / (policy.weight / weight) - 1) for user, policy in policies.items())


@settings(max_examples=12)
@given(data=st.data())
def test_backlogged_users_drift_apart_by_at_most_one_turn_of_each(world: MakeWorld, data: st.DataObject):
    users = data.draw(crowds(2, 6))
    w = world(policies={user: Policy(weight=data.draw(weights)) for user in users})
    for user in users:
        w.add(user, 200)
    drift = Drift(w.policies)

    batches = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=12))
    for batch in batches:
        tasks = w.claimed(min(batch, 190))
        for task in tasks:
            drift.served(task.user_id)
        w.settled(data.draw(st.sampled_from((tasks, tasks[::2], []))))
        # An empty lane would end the promise.
        served = Counter(task.user_id for task in tasks)
        for user, number in served.items():
            w.add(user, number)

    assert drift.most <= 1 + CLOSE


@settings(max_examples=20)
@given(data=st.data())
def test_whoever_comes_and_goes_two_users_who_stay_drift_by_at_most_two_turns_of_each(
    world: MakeWorld, data: st.DataObject
):
    users = data.draw(crowds(3, 6))
    w = world(
        policies={
            user: Policy(data.draw(weights), max_concurrency=data.draw(st.sampled_from((0, 0, 0, 1, 3))))
            for user in users
        }
    )
    drift = Drift(w.policies)
    waiting: Counter[str] = Counter()
    flying: Counter[str] = Counter()
    held = []

    def interrupt_who_cannot_be_served() -> None:
        for user, policy in w.policies.items():
            if not waiting[user] or 0 < policy.max_concurrency <= flying[user]:
                drift.interrupted(user)

    steps = st.tuples(
        st.sampled_from(("enqueue", "claim", "claim", "settle")), st.integers(0, 5), st.integers(1, 30)
    )
    for what, which, number in data.draw(st.lists(steps, min_size=20, max_size=40)):
        if what == "enqueue":
            user = users[which % len(users)]
            w.add(user, number)
            waiting[user] += number
        elif what == "claim":
            tasks = w.claimed(number)
            assert len(tasks) == number or not any(
                waiting[user] and not 0 < policy.max_concurrency <= flying[user]
                for user, policy in w.policies.items()
                if user not in {task.user_id for task in tasks}
            )
            for task in tasks:
                waiting[task.user_id] -= 1
                flying[task.user_id] += 1
                drift.served(task.user_id)
                interrupt_who_cannot_be_served()
            held += tasks
        else:
            done, held = held[which : which + number], held[:which] + held[which + number :]
            w.settled(done)
            flying.subtract(task.user_id for task in done)

    assert drift.most <= 2 + CLOSE


@pytest.mark.parametrize("batch", [1, 7, 64, None], ids=str)
def test_weights_1_2_5_are_kept_within_one_percent_over_1000_claims(world: MakeWorld, batch: int | None):
    w = world(policies={"one": Policy(1), "two": Policy(2), "five": Policy(5)})
    for user in w.policies:
        w.add(user, 700)

    turns: Counter[str] = Counter()
    sizes = iter([3, 50, 1, 17, 5, 29] * 100)
    while turns.total() < 1_000:
        limit = batch or next(sizes)
        tasks = w.claimed(min(limit, 1_000 - turns.total()))
        turns.update(task.user_id for task in tasks)
        w.settled(tasks)

    assert shared_by(w.policies, turns) <= 0.01


@pytest.mark.parametrize("weight", [0.001, 1_000.0, 1_000_000.0])
def test_very_light_and_very_heavy_users_share_as_their_weights_say(
    world: MakeWorld, server: Server, weight: float
):
    w = world(policies={"a": Policy(weight), "b": Policy(weight), "c": Policy(weight)})
    server.cli("HSET", w.keys.clock, "seq", 4_000)  # the number that breaks ties may wrap at 4,096
    for user in w.policies:
        w.add(user, 200)
    drift = Drift(w.policies)

    for user in w.served(150) + w.served(150):
        drift.served(user)

    assert drift.most <= 1 + CLOSE  # a tie break must not weigh anything


def test_a_changed_weight_counts_from_the_next_claim_on(world: MakeWorld):
    w = world(policies={"a": Policy(1), "b": Policy(1)})
    for user in w.policies:
        w.add(user, 400)
    assert Counter(w.served(100)) == {"a": 50, "b": 50}

    w.run(override(w.keys, "a", Policy(4), now_ms=w.now_ms))

    assert Counter(w.served(100)) == {"a": 80, "b": 20}


@settings(max_examples=10)
@given(data=st.data())
def test_idling_earns_nothing(world: MakeWorld, data: st.DataObject):
    sleeper, other = data.draw(crowds(2, 2))
    w = world(policies={sleeper: Policy(data.draw(weights)), other: Policy(data.draw(weights))})
    w.add(sleeper, 3)
    w.add(other, 1_000)
    w.settled(w.claimed(data.draw(st.integers(1, 200))))
    w.passes(data.draw(st.integers(0, 10_000_000)))

    w.add(sleeper, 300)
    drift = Drift(w.policies)
    for user in w.served(100):
        drift.served(user)

    assert drift.most <= 1 + CLOSE


@settings(max_examples=10)
@given(data=st.data())
def test_a_user_that_drains_at_every_call_gets_its_share_and_no_more(world: MakeWorld, data: st.DataObject):
    trickler, backlogged = data.draw(crowds(2, 2))
    weight = data.draw(st.sampled_from((0.25, 1.0, 2.0)))
    w = world(policies={trickler: Policy(weight), backlogged: Policy(1)})
    w.add(backlogged, 300)
    w.add(trickler)

    turns: Counter[str] = Counter()
    for _ in range(120):
        task = w.claimed()[0]
        turns[task.user_id] += 1
        w.settled([task])
        if task.user_id == trickler:
            w.add(trickler)

    share = 120 * weight / (weight + 1)
    assert abs(turns[trickler] - share) <= 2


def test_debt_outlives_an_empty_lane(world: MakeWorld):
    w = world(policies={"light": Policy(0.1), "b": Policy(1)})
    w.add("light")
    w.add("b", 100)
    assert w.served(2) == ["light", "b"]

    w.add("light")

    assert w.served(12) == ["b"] * 9 + ["light"] + ["b"] * 2


def test_however_much_a_user_owes_it_waits_for_so_many_turns_and_no_more(world: MakeWorld, server: Server):
    w = world(options=Options(debt_limit=8))
    w.add("b", 200)
    w.add("debtor")
    w.served(2)
    server.cli("HSET", w.keys.user("debtor"), "t:default", 1_000_000)

    w.add("debtor", 10)

    assert 7 <= w.served(30).index("debtor") <= 10


@settings(max_examples=8)
@given(data=st.data())
def test_ever_new_users_do_not_stop_the_clock_for_those_who_wait(world: MakeWorld, data: st.DataObject):
    w = world()
    old, *_ = data.draw(crowds(1, 1))
    w.add(old, 200)
    rate = data.draw(st.integers(1, 3))

    turns = 0
    for step in range(60):
        # As many newcomers as there are slots for, less one: the old user must get what is left.
        for n in range(rate):
            w.add(f"new-{step}-{n}-{old}"[:100])
        turns += w.served(rate + 1).count(old)

    assert turns >= 60 - 2


@settings(max_examples=6)
@given(data=st.data())
def test_the_names_of_the_users_change_nothing_but_names(world: MakeWorld, data: st.DataObject):
    script = [
        (data.draw(st.integers(0, 4)), data.draw(st.integers(1, 6)), data.draw(st.integers(1, 9)))
        for _ in range(15)
    ]
    policies = [
        Policy(data.draw(weights), max_concurrency=data.draw(st.sampled_from((0, 0, 2)))) for _ in range(5)
    ]

    def schedule(names: list[str]) -> list[int]:
        w = world(policies=dict(zip(names, policies, strict=True)))
        out = []
        for user, number, limit in script:
            w.add(names[user], number)
            tasks = w.claimed(limit)
            out += [names.index(task.user_id) for task in tasks]
            w.settled(tasks[::2])
        return out

    plain = schedule(["a", "b", "c", "d", "e"])
    assert schedule(["e", "d", "c", "b", "a"]) == plain
    assert schedule(data.draw(crowds(5, 5))) == plain


def test_ties_go_to_who_came_first_however_old_the_clock_is(world: MakeWorld, server: Server):
    for clock in ("0", "1e6", "1e9", "1e12"):
        w = world()
        server.cli("HSET", w.keys.clock, "v:default:*", clock)
        names = ["z", "m", "a", *HOSTILE[:5]]
        for user in names:
            w.add(user, 3)

        assert w.served(len(names)) == names, clock


@settings(max_examples=10)
@given(data=st.data())
def test_failed_parked_and_released_tasks_leave_the_shares_alone(world: MakeWorld, data: st.DataObject):
    users = data.draw(crowds(2, 4))
    w = world(policies={user: Policy(data.draw(weights)) for user in users})
    for user in users:
        w.add(user, 150)
        w.add(user, 5, priority=Priority.CRITICAL)
    drift = Drift(w.policies)

    for outcome in data.draw(
        st.lists(st.sampled_from((None, Retry(5), Park(7, "unknown"), Release())), min_size=8, max_size=8)
    ):
        tasks = w.claimed(data.draw(st.integers(1, 12)))
        for task in tasks:
            drift.served(task.user_id)
        if isinstance(outcome, Release):
            # Given back, yet not below the clock: begin to count anew.
            for task in tasks:
                drift.interrupted(task.user_id)
        w.settled(tasks, outcome)
        w.passes(3)

    assert drift.most <= 1 + CLOSE


def test_a_batch_is_interleaved_and_a_lone_user_fills_it(world: MakeWorld):
    w = world()
    w.add("flood", 100)
    w.add("quiet", 2)

    assert w.served(6) == ["flood", "quiet", "flood", "quiet", "flood", "flood"]
    assert w.served(10) == ["flood"] * 10


def test_several_queues_take_turns_whatever_else_happens_between_claims(world: MakeWorld):
    for fairness in ("turns", "time"):
        w = world(options=Options(fairness=fairness))
        both = Serve(queues=("one", "two"))
        w.add("a", 100, queue="one")
        w.add("b", 100, queue="two")

        turns: Counter[str] = Counter()
        for step in range(40):
            tasks = w.claimed(serve=both)
            turns.update(task.queue for task in tasks)
            w.settled(tasks)
            w.add(f"new-{step}", queue="one")
            w.passes(10)

        assert turns["two"] >= 18, fairness


def test_a_newcomer_comes_before_the_flood_while_the_only_tasks_of_others_run(world: MakeWorld):
    w = world()
    w.add("flood", 50)
    for n in range(8):
        w.add(f"quiet-{n}")
    w.claimed(9)

    w.claimed(3)
    w.add("newcomer")

    assert w.served(1) == ["newcomer"]
