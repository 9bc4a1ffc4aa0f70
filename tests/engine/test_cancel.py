from __future__ import annotations

import pytest

from django_fairque.engine.cancel import cancel
from django_fairque.engine.options import Options
from django_fairque.engine.policy import pause
from django_fairque.engine.recover import recover
from django_fairque.engine.settle import Settled
from django_fairque.engine.stats import stats
from django_fairque.engine.task import Bury, Finish, Policy, Priority, Release, Retry, State

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
    state,
)


@pytest.mark.parametrize("queue", ["default", "mail"])
@pytest.mark.parametrize("priority", [0, 5, Priority.CRITICAL], ids=["normal", "high", "critical"])
def test_a_waiting_task_is_canceled_and_the_others_stay(run, keys, priority, queue):
    enqueued(run, keys, "a", "b", "c", priority=priority, queue=queue)

    assert run(cancel(keys, "b", now_ms=NOW + 5)) is True

    found = record(run, keys, "b")
    assert (found.state, found.finished_ms) == (State.CANCELED, NOW + 5)
    assert in_states(run, keys) == {"queued": 2, "canceled": 1}
    assert counts(run, keys).queues == {queue: 2}


def test_a_canceled_task_never_runs(run, keys):
    enqueued(run, keys, "a", "b", "c")
    enqueued(run, keys, "d", priority=Priority.CRITICAL)
    joined(run, keys)
    for id in ("a", "d"):
        run(cancel(keys, id, now_ms=NOW))

    assert ids(claimed(run, keys)) == ["b", "c"]


def test_a_scheduled_task_is_canceled(run, keys, server):
    enqueued(run, keys, "a", "b", run_at_ms=NOW + 1_000)
    joined(run, keys)

    assert run(cancel(keys, "a", now_ms=NOW)) is True

    assert server.cli("ZRANGE", keys.state("scheduled"), 0, -1) == [b"b"]
    assert ids(claimed(run, keys, now_ms=NOW + 1_000)) == ["b"]


def test_a_task_between_two_attempts_is_canceled(run, keys):
    enqueued(run, keys, "retried", "released")
    joined(run, keys)
    claimed(run, keys)
    settled(run, keys, {"retried": Retry(1_000, b"{}"), "released": Release()})

    assert run(cancel(keys, "retried", now_ms=NOW)) is True
    assert run(cancel(keys, "released", now_ms=NOW)) is True
    assert record(run, keys, "retried").errors == (b"{}",)
    assert in_states(run, keys) == {"canceled": 2}


def test_a_recovered_task_is_canceled(run, keys):
    enqueued(run, keys, "a")
    joined(run, keys)
    claimed(run, keys)
    run(recover(keys, "w1", now_ms=NOW))

    assert run(cancel(keys, "a", now_ms=NOW)) is True
    assert settled(run, keys, {"a": Finish()}) == [Settled.LOST]
    assert state(run, keys, "a") is State.CANCELED


def test_a_task_that_runs_or_has_ended_is_not_canceled(run, keys):
    enqueued(run, keys, "runs", "finished", "failed")
    joined(run, keys)
    claimed(run, keys)
    settled(run, keys, {"finished": Finish(), "failed": Bury("no")})

    assert [run(cancel(keys, id, now_ms=NOW)) for id in ("runs", "finished", "failed")] == [False] * 3
    assert in_states(run, keys) == {"started": 1, "finished": 1, "failed": 1}
    assert settled(run, keys, {"runs": Finish()}) == [Settled.OK]


def test_an_unknown_task_is_not_canceled_and_leaves_nothing_behind(run, keys, server):
    assert run(cancel(keys, "never", now_ms=NOW)) is False
    assert server.cli("EXISTS", keys.task("never")) == 0


def test_a_cancel_sent_again_says_the_same_and_counts_once(run, keys):
    enqueued(run, keys, "a", "b")

    assert [run(cancel(keys, "a", now_ms=NOW)) for _ in range(3)] == [True] * 3
    assert in_states(run, keys) == {"queued": 1, "canceled": 1}
    assert run(stats(keys, since=NOW // 60_000, now_ms=NOW)).minutes[0].canceled == 1


def test_a_user_without_tasks_left_is_out_of_turn(run, keys, server):
    enqueued(run, keys, "a")
    enqueued(run, keys, "b", user_id="globex")
    run(cancel(keys, "a", now_ms=NOW))

    assert server.cli("ZRANGE", keys.ready("default", "*"), 0, -1) == [b"globex"]
    assert counts(run, keys).users == 1
    assert server.cli("PTTL", keys.user("acme")) > 0


@pytest.mark.parametrize("when", ["queued", "scheduled"])
def test_canceling_makes_room_in_the_backlog(run, keys, when):
    one = Policy(max_backlog=1)
    enqueued(run, keys, "a", policy=one, run_at_ms=NOW + 1_000 if when == "scheduled" else None)
    run(cancel(keys, "a", now_ms=NOW))

    assert enqueued(run, keys, "b", policy=one).new == 1


def test_a_paused_users_task_is_canceled_and_the_user_stays_paused(run, keys):
    enqueued(run, keys, "a", "b")
    run(pause(keys, "acme", now_ms=NOW))
    joined(run, keys)

    assert run(cancel(keys, "a", now_ms=NOW)) is True
    assert ids(claimed(run, keys)) == []


def test_a_canceled_record_goes_when_failed_ones_do(run, keys, server):
    enqueued(run, keys, "a", payload=b"x" * 100)

    run(cancel(keys, "a", now_ms=NOW, options=Options(failed_ttl_ms=5_000)))

    for key in (keys.task("a"), keys.body("a")):
        assert 0 < server.cli("PTTL", key) <= 5_000
