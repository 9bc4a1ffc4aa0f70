"""Turns belong to users, not to workers: they outlive restarts, and stealing is charged like the rest."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from django_fairque.engine.policy import assign
from django_fairque.engine.renew import leave
from django_fairque.engine.serve import Everyone, Group, Serve, Target, User
from django_fairque.engine.task import Policy

from .conftest import MakeWorld
from .names import crowds
from .shares import CLOSE, Drift

ALIVE_MS = 4_000
"""A group's own workers count as dead when none has claimed for so long."""

ONE = Serve(home=(Group("one"),), steal=(Everyone(),))
TWO = Serve(home=(Group("two"),), steal=(Everyone(),))


@settings(max_examples=12)
@given(data=st.data())
def test_the_rotation_is_shared_by_workers_and_survives_their_restarts(world: MakeWorld, data: st.DataObject):
    users = data.draw(crowds(2, 5))
    w = world(policies={user: Policy(data.draw(st.sampled_from((1, 2, 5)))) for user in users})
    for user in users:
        w.add(user, 120)
    drift = Drift(w.policies)

    workers, born = ["w0", "w1", "w2"], 3
    for _ in range(25):
        which = data.draw(st.integers(0, 2))
        for task in w.claimed(data.draw(st.integers(1, 4)), workers[which]):
            drift.served(task.user_id)
        fate = data.draw(st.sampled_from(("lives", "settles", "leaves", "dies")))
        if fate == "settles":
            w.settled(w.held[workers[which]], worker=workers[which])
        elif fate != "lives":
            # What comes back is not charged, and nothing is given back below the clock: begin to count anew.
            for task in w.held[workers[which]]:
                drift.interrupted(task.user_id)
            if fate == "dies":
                w.killed(workers[which])
            else:
                w.run(leave(w.keys, workers[which], now_ms=w.now_ms))
            workers[which] = f"w{born}"
            born += 1

    assert drift.most <= 1 + CLOSE


def test_three_workers_with_one_slot_each_share_like_one_with_three(world: MakeWorld):
    w = world()
    for user in ("a", "b", "c"):
        w.add(user, 20)

    turns = [w.served(1, worker)[0] for _ in range(9) for worker in ("x", "y", "z")]

    assert turns == ["a", "b", "c"] * 9


def test_assigned_users_come_before_stolen_ones(world: MakeWorld):
    w = world()
    w.joined("one", "one")
    w.joined("two", "two")
    w.add("theirs", 10, group="two")
    w.add("anybody", 10)
    w.claimed(1, "two", TWO)
    assert w.served(1, "free") == ["anybody"]
    w.add("mine", 3, group="one")

    assert w.served(2, "one", ONE) == ["mine", "mine"]
    assert w.served(1, "one", ONE) == ["mine"]
    assert set(w.served(4, "one", ONE)) == {"theirs", "anybody"}


def test_a_worker_that_may_not_steal_serves_nobody_else(world: MakeWorld):
    w = world()
    w.add("a", 3)
    w.add("b", 3, group="two")

    assert w.served(5, "one", Serve(home=(Group("one"),), steal=())) == []
    assert w.served(5, "one", Serve(home=(Group("one"),), steal=(User("b"),))) == ["b"] * 3


@settings(max_examples=10)
@given(data=st.data())
def test_stolen_turns_are_taken_in_fair_order_and_charged(world: MakeWorld, data: st.DataObject):
    users = data.draw(crowds(2, 4))
    w = world(policies={user: Policy(data.draw(st.sampled_from((1, 2, 5)))) for user in users})
    w.joined("own", "one")
    w.joined("thief", "two")
    for user in users:
        w.add(user, 150, group="one")
    drift = Drift(w.policies)

    everyone: tuple[Target, ...] = (Everyone(),)
    targets = data.draw(st.sampled_from((everyone, (Group("one"),), tuple(User(user) for user in users))))
    thief = Serve(home=(Group("two"),), steal=targets)
    for _ in range(12):
        steals = data.draw(st.booleans())
        limit = data.draw(st.integers(1, 9))
        served = w.served(limit, "thief", thief) if steals else w.served(limit, "own", ONE)
        assert len(served) == limit
        for user in served:
            drift.served(user)

    assert drift.most <= 1 + CLOSE


def test_one_large_claim_steals_from_named_users_by_their_weights(world: MakeWorld):
    w = world(policies={"heavy": Policy(5), "light": Policy(1)})
    for user in w.policies:
        w.add(user, 200, group="one")

    turns = Counter(w.served(60, "thief", Serve(home=(Group("two"),), steal=(User("light"), User("heavy")))))

    assert abs(turns["light"] - 10) <= 1


def test_users_of_dead_workers_are_served_by_thieves_that_are_busy_at_home(world: MakeWorld):
    w = world()
    w.joined("one", "one")
    w.joined("two", "two")
    w.add("mine", 400, group="one")
    w.add("orphan", 400, group="two")
    w.claimed(1, "two", TWO)
    assert w.served(10, "one", ONE) == ["mine"] * 10

    for _ in range(5):
        w.passes(ALIVE_MS // 5)
        assert w.served(10, "one", ONE) == ["mine"] * 10
    w.passes(1)

    # They take turns with the home, so neither waits for the other.
    assert Counter(w.served(20, "one", ONE)) == {"mine": 10, "orphan": 10}
    assert w.served(2, "two", TWO) == ["orphan"] * 2
    assert w.served(10, "one", ONE) == ["mine"] * 10


def test_single_claims_serve_home_and_orphans_by_turns(world: MakeWorld):
    w = world()
    w.joined("one", "one")
    w.add("mine", 100, group="one")
    w.add("orphan", 100, group="two")
    w.passes(ALIVE_MS + 1)

    turns: Counter[str] = Counter()
    for n in range(40):
        turns.update(w.served(1, "one", ONE))
        w.add(f"new-{n}", group="one")

    assert turns["orphan"] >= 18


def test_unassigned_users_are_served_when_no_worker_has_them_at_home(world: MakeWorld):
    w = world()
    w.joined("one", "one")
    w.add("mine", 50, group="one")
    w.add("nobodys", 50)
    w.passes(ALIVE_MS + 1)

    assert Counter(w.served(10, "one", ONE)) == {"mine": 5, "nobodys": 5}


@settings(max_examples=12)
@given(data=st.data())
def test_a_changed_assignment_keeps_lead_and_lag(world: MakeWorld, data: st.DataObject):
    """The clocks of the two groups are far apart, and the mover is served as if it had always been there."""
    mover, old, new = data.draw(crowds(3, 3))
    w = world(policies={mover: Policy(1), old: Policy(1), new: Policy(1)})
    busy = data.draw(st.integers(0, 150))
    w.add(old, 400)
    w.add(new, 400, group="one")
    w.add(mover, data.draw(st.sampled_from((1, 100))))
    home, away = Serve(steal=()), Serve(home=(Group("one"),), steal=())
    while busy > 0:
        w.served(min(busy, 20), serve=home)
        busy -= 20
    w.served(data.draw(st.integers(0, 150)) or 1, "v", away)
    behind = data.draw(st.integers(1, 3))
    w.served(behind, serve=home)

    if data.draw(st.booleans()):
        w.run(assign(w.keys, "one", [mover], now_ms=w.now_ms))
        w.add(mover, 100, group="one")
    else:
        w.add(mover, 100, group="one")
    drift = Drift({mover: Policy(1), new: Policy(1)})
    for user in w.served(60, "v", away):
        drift.served(user)

    assert drift.most <= 1 + CLOSE
    assert mover not in w.served(20, serve=home)


def test_debt_moves_along_with_an_idle_user(world: MakeWorld):
    w = world(policies={"light": Policy(0.1), "b": Policy(1), "c": Policy(1)})
    away = Serve(home=(Group("one"),), steal=())
    w.add("b", 300)
    w.add("c", 300, group="one")
    w.served(250, serve=Serve(steal=()))
    w.add("light")
    assert "light" in w.served(3)  # ten turns of the others in advance

    w.add("light", 5, group="one")

    assert 8 <= w.served(30, "v", away).index("light") <= 12


def test_an_assignment_moves_waiting_users_back_and_forth(world: MakeWorld):
    w = world()
    w.add("a", 6)
    w.run(assign(w.keys, "one", ["a", "unknown"], now_ms=w.now_ms))
    assert w.served(1, serve=Serve(steal=())) == []
    assert w.served(2, "v", Serve(home=(Group("one"),), steal=())) == ["a", "a"]

    w.run(assign(w.keys, "*", ["a"], now_ms=w.now_ms))

    assert w.served(1, "v", Serve(home=(Group("one"),), steal=())) == []
    assert w.served(9, serve=Serve(steal=())) == ["a"] * 4
