"""What is no task in Redis harms nobody: it goes to the dead letters, and the counters are healed."""

from __future__ import annotations

import pytest

from django_fairque.engine.serve import Serve
from django_fairque.engine.task import Finish, Policy, Priority, State

from .given import (
    NOW,
    claimed,
    counts,
    enqueued,
    ids,
    in_states,
    joined,
    record,
    settled,
)

ONE_AT_A_TIME = Policy(max_concurrency=1)


def _missing(server, keys):
    server.cli("DEL", keys.task("bad"))


def _no_name(server, keys):
    server.cli("HDEL", keys.task("bad"), "n")


def _no_time(server, keys):
    server.cli("HDEL", keys.task("bad"), "e")


def _no_body(server, keys):
    server.cli("DEL", keys.body("bad"))


def _string(server, keys):
    server.cli("DEL", keys.task("bad"))
    server.cli("SET", keys.task("bad"), "garbage")


def _list(server, keys):
    server.cli("DEL", keys.task("bad"))
    server.cli("RPUSH", keys.task("bad"), "garbage")


def _list_as_body(server, keys):
    server.cli("DEL", keys.body("bad"))
    server.cli("RPUSH", keys.body("bad"), "garbage")


GARBAGE = [_missing, _no_name, _no_time, _no_body, _string, _list, _list_as_body]


@pytest.mark.parametrize("policy", [Policy(), ONE_AT_A_TIME], ids=["free", "capped"])
@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_goes_to_the_dead_letters_and_the_rest_goes_on(run, keys, server, garbage, policy):
    enqueued(run, keys, "bad", payload=b"x" * 100, policy=policy)
    enqueued(run, keys, "good", "better", policy=policy)
    enqueued(run, keys, "other", user_id="globex")
    joined(run, keys)
    garbage(server, keys)

    served = []
    for call in range(1, 6):
        got = claimed(run, keys, call=call, limit=2)
        settled(run, keys, {task.id: Finish() for task in got.tasks}, call=call)
        served += ids(got)

    assert sorted(served) == ["better", "good", "other"]
    buried = record(run, keys, "bad")
    assert (buried.state, buried.user_id) == (State.FAILED, "acme")
    assert "corrupt" in buried.reason
    assert in_states(run, keys) == {"finished": 3, "failed": 1}
    assert server.cli("HGET", keys.user("acme"), "f") == b"0"
    assert server.cli("PTTL", keys.task("bad")) > 0


def test_much_garbage_is_buried_step_by_step(run, keys, server):
    many = [f"bad{n}" for n in range(150)]
    enqueued(run, keys, *many)
    server.cli("DEL", *(keys.task(id) for id in many))
    joined(run, keys)

    for call in range(1, 6):
        assert claimed(run, keys, call=call, limit=200).tasks == []
    assert in_states(run, keys) == {"failed": 150}


def test_garbage_found_when_a_call_comes_again_is_counted_once(run, keys, server):
    enqueued(run, keys, "bad", payload=b"x" * 100)
    joined(run, keys)
    claimed(run, keys)
    _no_body(server, keys)

    assert ids(claimed(run, keys)) == []
    assert ids(claimed(run, keys, call=2)) == []

    assert in_states(run, keys) == {"failed": 1}
    assert server.cli("HGET", keys.user("acme"), "f") == b"0"


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_tasks_missing_from_a_lane_are_forgotten_by_the_counters_too(run, keys, server, limit):
    enqueued(run, keys, "gone", "there")
    joined(run, keys)
    server.cli("ZREM", keys.lane("acme", "normal"), "gone")

    served = [id for call in (1, 2, 3) for id in ids(claimed(run, keys, call=call, limit=limit))]

    assert served == ["there"]
    assert in_states(run, keys) == {"started": 1}
    settled(run, keys, {"there": Finish()}, call=1)
    assert server.cli("HMGET", keys.user("acme"), "n", "f", "n:default") == [b"0", b"0", b"0"]
    assert counts(run, keys).users == 0


def test_a_capped_user_whose_lane_vanished_is_served_from_its_other_queue(run, keys, server):
    enqueued(run, keys, "gone", policy=ONE_AT_A_TIME)
    enqueued(run, keys, "mail", queue="mail", policy=ONE_AT_A_TIME)
    joined(run, keys)
    server.cli("DEL", keys.lane("acme", "normal"))

    both = Serve(queues=("default", "mail"))
    assert [id for call in (1, 2, 3) for id in ids(claimed(run, keys, call=call, serve=both))] == ["mail"]


def test_a_capped_user_whose_critical_lane_vanished_is_served_from_the_normal_one(run, keys, server):
    enqueued(run, keys, "gone", policy=ONE_AT_A_TIME, priority=Priority.CRITICAL)
    enqueued(run, keys, "there", policy=ONE_AT_A_TIME)
    joined(run, keys)
    server.cli("DEL", keys.lane("acme", "critical"))

    assert [id for call in (1, 2, 3) for id in ids(claimed(run, keys, call=call))] == ["there"]


@pytest.mark.parametrize("lane", ["critical", "normal"])
def test_a_lane_of_the_wrong_type_harms_nobody_else(run, keys, server, lane):
    enqueued(run, keys, "lost", priority=Priority.CRITICAL if lane == "critical" else 0)
    enqueued(run, keys, "other", user_id="globex")
    joined(run, keys)
    server.cli("DEL", keys.lane("acme", lane))
    server.cli("SET", keys.lane("acme", lane), "garbage")

    assert [id for call in (1, 2, 3) for id in ids(claimed(run, keys, call=call))] == ["other"]
    enqueued(run, keys, "next", now_ms=NOW + 1)
    assert ids(claimed(run, keys, call=4, now_ms=NOW + 1)) == ["next"]


def test_a_stranger_in_the_ready_set_is_taken_out(run, keys, server):
    enqueued(run, keys, "a")
    joined(run, keys)
    server.cli("ZADD", keys.ready("default", "*"), -5, "stranger")

    assert ids(claimed(run, keys)) == ["a"]
    assert server.cli("EXISTS", keys.ready("default", "*")) == 0


def test_a_scheduled_entry_without_a_task_is_dropped(run, keys, server):
    enqueued(run, keys, "a", run_at_ms=NOW + 10)
    server.cli("ZADD", keys.state("scheduled"), 1, "nothing")
    joined(run, keys)

    assert ids(claimed(run, keys, now_ms=NOW + 10)) == ["a"]
    assert server.cli("ZCARD", keys.state("scheduled")) == 0
