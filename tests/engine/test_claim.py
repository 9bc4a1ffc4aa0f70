from __future__ import annotations

import pytest

from django_fairque.engine.claim import claim, ring
from django_fairque.engine.enqueue import enqueue
from django_fairque.engine.errors import LeaseLost
from django_fairque.engine.options import Options
from django_fairque.engine.serve import Everyone, Group, Serve, User
from django_fairque.engine.task import Claimed, Finish, Policy, Retry, State

from .given import (
    EVERYBODY,
    NOW,
    claimed,
    enqueued,
    ids,
    in_states,
    joined,
    new,
    record,
    settled,
    state,
)

ONE_AT_A_TIME = Policy(max_concurrency=1)


# What a worker gets


def test_a_claim_tells_all_the_worker_needs(run, keys):
    enqueued(run, keys, "a", queue="mail", priority=4, payload=b"x" * 100)
    joined(run, keys)

    got = claimed(run, keys, call=7, now_ms=NOW + 250, serve=Serve(queues=("mail",)))

    assert got.tasks == [
        Claimed(
            id="a", call=7, name="send", user_id="acme", queue="mail", priority=4, payload=b"x" * 100,
            attempt=1, deliveries=1, enqueued_ms=NOW, started_ms=NOW + 250, run_at_ms=None, workers=("w1",),
        )
    ]  # fmt: skip
    found = record(run, keys, "a")
    assert (found.state, found.started_ms, found.first_started_ms) == (State.STARTED, NOW + 250, NOW + 250)
    assert found.workers == ("w1",)


def test_users_take_turns(run, keys):
    enqueued(run, keys, "a1", "a2", "a3", "a4")
    enqueued(run, keys, "b1", "b2", user_id="globex")
    joined(run, keys)

    assert ids(claimed(run, keys)) == ["a1", "b1", "a2", "b2", "a3", "a4"]


def test_turns_go_on_where_the_last_call_ended(run, keys):
    enqueued(run, keys, "a1", "a2", "a3")
    enqueued(run, keys, "b1", "b2", "b3", user_id="globex")
    joined(run, keys)

    served = [ids(claimed(run, keys, call=call, limit=1)) for call in range(1, 7)]
    assert served == [["a1"], ["b1"], ["a2"], ["b2"], ["a3"], ["b3"]]


def test_a_claim_never_takes_more_than_its_limit_and_says_when_more_is_ready(run, keys):
    enqueued(run, keys, "a", "b", "c")
    joined(run, keys)

    first = claimed(run, keys, call=1, limit=2)
    last = claimed(run, keys, call=2, limit=1)
    none = claimed(run, keys, call=3, limit=1)

    assert (ids(first), first.more) == (["a", "b"], True)
    assert (ids(last), last.more) == (["c"], False)
    assert (ids(none), none.more) == ([], False)


def test_a_claim_for_no_slot_takes_nothing(run, keys):
    enqueued(run, keys, "a")
    joined(run, keys)

    assert claimed(run, keys, limit=0).tasks == []
    assert state(run, keys, "a") is State.QUEUED


def test_one_claim_may_take_thousands(run, keys):
    many = [f"t{n}" for n in range(3_000)]
    for at in range(0, 3_000, 1_000):
        enqueued(run, keys, *many[at : at + 1_000])
    joined(run, keys)

    assert ids(claimed(run, keys, limit=5_000)) == many


def test_a_worker_takes_tasks_of_its_queues_alone(run, keys):
    enqueued(run, keys, "a")
    enqueued(run, keys, "b", queue="mail")
    enqueued(run, keys, "c", queue="mail:*")
    joined(run, keys)

    assert ids(claimed(run, keys, serve=Serve(queues=("mail", "empty")))) == ["b"]
    assert set(ids(claimed(run, keys, call=2, serve=Serve(queues=("default", "mail:*"))))) == {"a", "c"}


def test_a_cap_holds_inside_one_call_and_across_calls(run, keys):
    enqueued(run, keys, "a", "b", "c", policy=Policy(max_concurrency=2))
    joined(run, keys)

    assert ids(claimed(run, keys)) == ["a", "b"]
    assert ids(claimed(run, keys, call=2)) == []
    settled(run, keys, {"a": Finish()})
    assert ids(claimed(run, keys, call=3)) == ["c"]


def test_a_rate_holds_and_the_claim_says_when_to_ask_again(run, keys):
    enqueued(run, keys, "a", "b", "c", "d", policy=Policy(rate_interval_ms=1_000, rate_burst=2))
    joined(run, keys)

    first = claimed(run, keys)
    assert (ids(first), first.wait_ms) == (["a", "b"], 1_000)
    assert ids(claimed(run, keys, call=2, now_ms=NOW + 999)) == []
    assert ids(claimed(run, keys, call=3, now_ms=NOW + 1_000)) == ["c"]
    assert ids(claimed(run, keys, call=4, now_ms=NOW + 2_000)) == ["d"]


def test_each_of_several_users_over_their_rates_is_served_on_time(run, keys):
    enqueued(run, keys, "a1", "a2", policy=Policy(rate_interval_ms=1_000))
    enqueued(run, keys, "b1", "b2", policy=Policy(rate_interval_ms=3_000), user_id="globex")
    joined(run, keys)
    assert ids(claimed(run, keys)) == ["a1", "b1"]

    assert ids(claimed(run, keys, call=2, now_ms=NOW + 1_000)) == ["a2"]
    assert claimed(run, keys, call=3, now_ms=NOW + 1_001).wait_ms == 1_999
    assert ids(claimed(run, keys, call=4, now_ms=NOW + 3_000)) == ["b2"]


def test_one_bell_is_rung_on_while_there_is_work_for_another_worker(run, keys, server):
    enqueued(run, keys, "a", "b")
    joined(run, keys)
    server.cli("DEL", keys.bell("default", "*"))

    claimed(run, keys, limit=1)
    assert server.cli("LLEN", keys.bell("default", "*")) == 1

    server.cli("DEL", keys.bell("default", "*"))
    claimed(run, keys, call=2, limit=1)
    assert server.cli("LLEN", keys.bell("default", "*")) == 0


def test_a_wake_up_that_a_worker_cannot_use_is_passed_on(run, keys, server):
    enqueued(run, keys, "a")
    server.cli("DEL", keys.bell("default", "*"))

    assert run(ring(keys, [("default", "*"), ("mail", "*")])) == 1
    assert run(ring(keys, [("default", "*")])) == 0
    assert server.cli("LLEN", keys.bell("default", "*")) == 1


def test_a_retried_task_is_claimed_as_its_second_attempt(run, keys):
    enqueued(run, keys, "a")
    joined(run, keys)
    joined(run, keys, "w2")
    claimed(run, keys)
    settled(run, keys, {"a": Retry(500, b"{}")})

    assert claimed(run, keys, "w2", now_ms=NOW + 100).wait_ms in (399, 400)
    (task,) = claimed(run, keys, "w2", call=2, now_ms=NOW + 500).tasks
    assert (task.attempt, task.deliveries, task.workers) == (2, 2, ("w1", "w2"))


def test_tasks_enqueued_with_time_as_the_measure_are_served_too(run, keys):
    by_time = Options(fairness="time")
    run(enqueue(keys, [new("a"), new("b", user_id="globex"), new("c")], now_ms=NOW, options=by_time))
    joined(run, keys, options=by_time)

    assert ids(claimed(run, keys, options=by_time)) == ["a", "b", "c"]


# Home and elsewhere


def test_a_worker_serves_its_own_users_first_and_then_steals(run, keys):
    home = Serve(home=(Group("w"),), steal=(Everyone(),))
    joined(run, keys, group="w", serve=home)
    joined(run, keys, "w2")
    claimed(run, keys, "w2", limit=0)
    enqueued(run, keys, "foreign")
    enqueued(run, keys, "own", user_id="globex", group="w")

    assert ids(claimed(run, keys, limit=2, serve=home)) == ["own", "foreign"]


def test_a_worker_without_targets_to_steal_from_leaves_others_alone(run, keys):
    home = Serve(home=(Group("w"),), steal=())
    joined(run, keys, group="w", serve=home)
    enqueued(run, keys, "foreign")

    assert ids(claimed(run, keys, serve=home)) == []


def test_single_users_may_be_stolen_from_in_fair_order(run, keys):
    picky = Serve(home=(Group("w"),), steal=(User("globex"), User("initech")))
    joined(run, keys, group="w", serve=picky)
    enqueued(run, keys, "a")
    enqueued(run, keys, "b1", "b2", user_id="globex")
    enqueued(run, keys, "c1", "c2", user_id="initech")

    assert ids(claimed(run, keys, serve=picky)) == ["b1", "c1", "b2", "c2"]


# Again


def test_the_same_call_again_gives_the_same_tasks_again(run, keys):
    enqueued(run, keys, *"abc", payload=b"x" * 100)
    joined(run, keys)

    first = claimed(run, keys, limit=2)
    again = claimed(run, keys, limit=2, now_ms=NOW + 10)

    assert ids(again) == ids(first) == ["a", "b"]
    assert [task.payload for task in again.tasks] == [task.payload for task in first.tasks]
    assert in_states(run, keys) == {"queued": 1, "started": 2}
    assert ids(claimed(run, keys, call=2)) == ["c"]


def test_a_call_again_does_not_give_what_was_settled_since(run, keys):
    enqueued(run, keys, "a", "b")
    joined(run, keys)
    claimed(run, keys)
    settled(run, keys, {"a": Finish()})

    assert ids(claimed(run, keys)) == ["b"]


def test_a_call_that_found_nothing_may_find_something_when_it_comes_again(run, keys):
    joined(run, keys)
    assert ids(claimed(run, keys)) == []
    enqueued(run, keys, "a")

    assert ids(claimed(run, keys)) == ["a"]


def test_a_call_again_charges_nobody_twice(run, keys):
    enqueued(run, keys, "a1", "a2", policy=Policy(max_concurrency=2))
    enqueued(run, keys, "b1", "b2", user_id="globex")
    joined(run, keys)
    for _ in range(3):
        claimed(run, keys, limit=1)

    assert ids(claimed(run, keys, call=2)) == ["b1", "a2", "b2"]


# Leases


def test_a_worker_that_never_joined_gets_nothing(run, keys):
    enqueued(run, keys, "a")

    with pytest.raises(LeaseLost):
        claimed(run, keys)
    assert state(run, keys, "a") is State.QUEUED


def test_a_claim_renews_the_lease(run, keys, server):
    joined(run, keys)

    claimed(run, keys, now_ms=NOW + 20_000)

    assert server.cli("ZSCORE", keys.leases, "w1") == NOW + 50_000


def test_the_floor_lifts_the_clock_of_a_partition_that_was_empty(run, keys):
    enqueued(run, keys, "a")
    joined(run, keys)

    lifted = run(claim(keys, "w1", 1, 0, EVERYBODY, floor=500.0, now_ms=NOW))
    assert lifted.clock == 500.0
    assert run(claim(keys, "w1", 2, 1, EVERYBODY, floor=3.0, now_ms=NOW)).clock >= 500.0
