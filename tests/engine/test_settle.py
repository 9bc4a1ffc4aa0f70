from __future__ import annotations

import pytest

from django_fairque.engine.cancel import cancel
from django_fairque.engine.claim import claim
from django_fairque.engine.options import Options
from django_fairque.engine.recover import recover
from django_fairque.engine.renew import leave
from django_fairque.engine.settle import Settled, Verdict, settle
from django_fairque.engine.task import (
    Bury,
    Finish,
    Outcome,
    Park,
    Policy,
    Priority,
    Release,
    Retry,
    State,
)

from .given import EVERYBODY, NOW, claimed, enqueued, ids, in_states, joined, names, record, settled, state

OUTCOMES: list[Outcome] = [
    Finish(b"1"),
    Finish(b"1" * 100),
    Retry(1_000, b"{}"),
    Bury("no such order", b"{}"),
    Park(1_000, "unknown"),
    Release(),
]


def started(run, keys, *tasks: str, **other) -> None:
    """Tasks that the worker w1 runs."""
    enqueued(run, keys, *tasks, **other)
    joined(run, keys)
    assert ids(claimed(run, keys, limit=len(tasks))) == [*tasks]


# Each outcome


@pytest.mark.parametrize("size", [0, 4, 63, 64, 65, 100_000])
def test_a_finished_task_keeps_its_result_to_the_byte(run, keys, server, size):
    started(run, keys, "a")

    assert settled(run, keys, {"a": Finish(b"\0" * size)}, now_ms=NOW + 40) == [Settled.OK]

    found = record(run, keys, "a")
    assert (found.state, found.result, found.finished_ms) == (State.FINISHED, b"\0" * size, NOW + 40)
    assert (found.started_ms, found.workers, found.errors) == (NOW, ("w1",), ())
    assert server.cli("OBJECT", "ENCODING", keys.task("a")) == b"listpack"
    assert server.cli("EXISTS", keys.result("a")) == (size > 64)
    assert in_states(run, keys) == {"finished": 1}


def test_a_retried_task_waits_and_keeps_the_history_of_its_attempts(run, keys):
    started(run, keys, "a")
    joined(run, keys, "w2")
    settled(run, keys, {"a": Retry(1_000, b"first")}, now_ms=NOW + 10)

    waiting = record(run, keys, "a")
    assert (waiting.state, waiting.run_at_ms, waiting.attempts) == (State.SCHEDULED, NOW + 1_010, 1)
    assert claimed(run, keys, "w2", now_ms=NOW + 1_009).tasks == []

    assert claimed(run, keys, "w2", call=2, now_ms=NOW + 1_010).tasks[0].attempt == 2
    settled(run, keys, {"a": Retry(0, b"second")}, "w2", 2, now_ms=NOW + 1_020)
    assert claimed(run, keys, call=2, now_ms=NOW + 1_020).tasks[0].attempt == 3
    settled(run, keys, {"a": Finish(b"3")}, call=2, now_ms=NOW + 1_030)

    found = record(run, keys, "a")
    assert (found.state, found.attempts, found.errors) == (State.FINISHED, 2, (b"first", b"second"))
    assert found.workers == ("w1", "w2", "w1")
    assert (found.first_started_ms, found.started_ms) == (NOW, NOW + 1_020)


def test_a_retry_without_delay_goes_behind_what_waits_already(run, keys):
    started(run, keys, "a")
    enqueued(run, keys, "b", now_ms=NOW + 1)
    settled(run, keys, {"a": Retry(0)}, now_ms=NOW + 5)

    assert ids(claimed(run, keys, call=2, now_ms=NOW + 5)) == ["b", "a"]


def test_a_retried_task_keeps_its_priority_and_its_lane(run, keys):
    started(run, keys, "urgent", priority=Priority.CRITICAL)
    settled(run, keys, {"urgent": Retry(0)})
    enqueued(run, keys, "old", priority=100)

    assert ids(claimed(run, keys, call=2)) == ["urgent", "old"]
    settled(run, keys, {"old": Retry(0)}, call=2)
    enqueued(run, keys, "low", priority=99)
    assert ids(claimed(run, keys, call=3)) == ["old", "low"]


def test_a_buried_task_lies_among_the_dead_letters_with_reason_and_error(run, keys, server):
    started(run, keys, "a", payload=b"x" * 100)

    settled(run, keys, {"a": Bury("OrderGone: 7", b'{"type": "OrderGone"}')}, now_ms=NOW + 5)

    found = record(run, keys, "a")
    assert (found.state, found.reason, found.finished_ms) == (State.FAILED, "OrderGone: 7", NOW + 5)
    assert (found.attempts, found.errors, found.payload) == (1, (b'{"type": "OrderGone"}',), b"x" * 100)
    assert found.workers == ("w1",)
    assert server.cli("ZRANGE", keys.state("failed"), 0, -1) == [b"a"]


def test_a_parked_task_waits_without_a_burnt_attempt(run, keys):
    started(run, keys, "a")
    settled(run, keys, {"a": Park(60_000, "unknown task 'send'")})

    found = record(run, keys, "a")
    assert (found.state, found.attempts, found.errors) == (State.SCHEDULED, 0, ())
    assert (found.reason, found.run_at_ms) == ("unknown task 'send'", NOW + 60_000)

    again = claimed(run, keys, call=2, now_ms=NOW + 60_000)
    assert [task.attempt for task in again.tasks] == [1]
    settled(run, keys, {"a": Finish()}, call=2, now_ms=NOW + 60_000)
    assert record(run, keys, "a").reason == ""


def test_a_released_task_goes_back_to_its_place_and_nothing_is_counted(run, keys):
    started(run, keys, "a")
    enqueued(run, keys, "b")

    settled(run, keys, {"a": Release()})

    found = record(run, keys, "a")
    assert (found.state, found.attempts, found.lost) == (State.QUEUED, 0, 0)
    assert (found.started_ms, found.first_started_ms, found.workers) == (None, None, ())
    again = claimed(run, keys, call=2)
    assert ids(again) == ["a", "b"]
    assert (again.tasks[0].attempt, again.tasks[0].deliveries) == (1, 1)


@pytest.mark.parametrize("priority", [0, Priority.CRITICAL], ids=["normal", "critical"])
def test_several_released_tasks_keep_their_order(run, keys, priority):
    started(run, keys, "a", "b", "c", priority=priority)
    enqueued(run, keys, "d", priority=priority)

    settled(run, keys, {id: Release() for id in "abc"})

    assert ids(claimed(run, keys, call=2)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_every_outcome_frees_the_users_slot(run, keys, outcome):
    one = Policy(max_concurrency=1)
    started(run, keys, "a", policy=one)
    enqueued(run, keys, "b", policy=one)
    assert ids(claimed(run, keys, call=2)) == []

    settled(run, keys, {"a": outcome})

    assert ids(claimed(run, keys, call=3)) == ["a" if outcome == Release() else "b"]


def test_outcomes_of_several_tasks_are_recorded_in_one_call(run, keys):
    tasks = "abcdef"
    started(run, keys, *tasks)

    answers = settled(run, keys, dict(zip(tasks, OUTCOMES, strict=True)))

    assert answers == [Settled.OK] * 6
    assert [state(run, keys, id) for id in tasks] == [
        State.FINISHED, State.FINISHED, State.SCHEDULED, State.FAILED, State.SCHEDULED, State.QUEUED,
    ]  # fmt: skip
    assert in_states(run, keys) == {"finished": 2, "scheduled": 2, "failed": 1, "queued": 1}


def test_a_call_may_settle_thousands(run, keys):
    many = [f"t{n}" for n in range(3_000)]
    for at in range(0, 3_000, 1_000):
        enqueued(run, keys, *many[at : at + 1_000])
    joined(run, keys)
    claimed(run, keys, limit=3_000)

    assert settled(run, keys, {id: Finish() for id in many}) == [Settled.OK] * 3_000
    assert in_states(run, keys) == {"finished": 3_000}


# Once


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_an_outcome_sent_again_is_ok_and_counts_once(run, keys, server, outcome):
    started(run, keys, "a")
    settled(run, keys, {"a": outcome})
    before, stored = record(run, keys, "a"), names(server, keys)
    user = server.cli("HGETALL", keys.user("acme"))

    assert settled(run, keys, {"a": outcome}, now_ms=NOW + 5) == [Settled.OK]

    assert record(run, keys, "a") == before
    assert names(server, keys) == stored
    assert server.cli("HGETALL", keys.user("acme")) == user


def test_an_outcome_sent_again_is_ok_when_the_task_is_due_again_already(run, keys):
    started(run, keys, "a")
    settled(run, keys, {"a": Retry(0, b"{}")})
    joined(run, keys, "w2")
    claimed(run, keys, "w2", limit=0)

    assert settled(run, keys, {"a": Retry(0, b"{}")}) == [Settled.OK]
    assert record(run, keys, "a").attempts == 1


def test_an_outcome_twice_in_one_call_counts_once(run, keys):
    started(run, keys, "a")

    twice = [Verdict("a", 1, Retry(0, b"{}"))] * 2
    assert run(settle(keys, "w1", twice, now_ms=NOW)) == [Settled.OK, Settled.OK]
    assert record(run, keys, "a").errors == (b"{}",)
    assert in_states(run, keys) == {"scheduled": 1}


def test_only_the_first_of_two_different_outcomes_counts(run, keys):
    started(run, keys, "a")
    settled(run, keys, {"a": Finish(b"1")})

    settled(run, keys, {"a": Bury("late")})

    assert (state(run, keys, "a"), record(run, keys, "a").result) == (State.FINISHED, b"1")
    assert in_states(run, keys) == {"finished": 1}


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_a_foreign_outcome_is_lost_and_changes_nothing(run, keys, outcome):
    started(run, keys, "a")
    joined(run, keys, "w2")

    assert settled(run, keys, {"a": outcome}, "w2") == [Settled.LOST]
    assert settled(run, keys, {"a": outcome}, "nobody") == [Settled.LOST]
    assert settled(run, keys, {"a": outcome}, "w1", 2) == [Settled.LOST]
    assert settled(run, keys, {"unknown": outcome}) == [Settled.LOST]
    assert in_states(run, keys) == {"started": 1}


def test_an_outcome_for_a_task_that_waits_or_is_canceled_is_lost(run, keys):
    joined(run, keys)
    enqueued(run, keys, "a", "b")
    run(cancel(keys, "b", now_ms=NOW))

    assert settled(run, keys, {"a": Finish(), "b": Finish()}) == [Settled.LOST, Settled.LOST]
    assert in_states(run, keys) == {"queued": 1, "canceled": 1}


def test_the_outcome_of_an_earlier_claim_is_lost_when_the_same_worker_has_the_task_again(run, keys):
    started(run, keys, "a")
    settled(run, keys, {"a": Release()})
    assert ids(claimed(run, keys, call=2)) == ["a"]

    assert settled(run, keys, {"a": Finish(b"old")}, call=1) == [Settled.LOST]
    assert settled(run, keys, {"a": Finish(b"new")}, call=2) == [Settled.OK]
    assert record(run, keys, "a").result == b"new"


def test_a_worker_that_was_recovered_or_left_cannot_settle_any_more(run, keys):
    started(run, keys, "a")
    run(recover(keys, "w1", now_ms=NOW))
    assert settled(run, keys, {"a": Finish()}) == [Settled.LOST]

    joined(run, keys, "w2")
    claimed(run, keys, "w2")
    run(leave(keys, "w2", now_ms=NOW))
    assert settled(run, keys, {"a": Finish()}, "w2") == [Settled.LOST]
    assert in_states(run, keys) == {"queued": 1}


def test_a_late_outcome_of_a_worker_that_nobody_replaced_counts(run, keys):
    started(run, keys, "a")

    assert settled(run, keys, {"a": Finish(b"1")}, now_ms=NOW + 3_600_000) == [Settled.OK]


def test_lost_and_ok_stand_where_their_verdicts_stood(run, keys):
    started(run, keys, "a", "b")

    answers = settled(run, keys, {"x": Finish(), "a": Finish(), "y": Finish(), "b": Finish()})
    assert answers == [Settled.LOST, Settled.OK, Settled.LOST, Settled.OK]


def test_no_verdict_is_no_trouble(run, keys):
    assert run(settle(keys, "w1", [])) == []


def test_outcomes_and_the_next_claim_go_in_one_round_trip(run, keys):
    started(run, keys, "a")
    enqueued(run, keys, "b")

    answers, got = run.many(
        [
            settle(keys, "w1", [Verdict("a", 1, Finish())], now_ms=NOW),
            claim(keys, "w1", 2, 1, EVERYBODY, now_ms=NOW),
        ]
    )
    assert (answers, ids(got)) == ([Settled.OK], ["b"])


def test_a_settled_backlog_of_expired_records_never_breaks_a_large_call(run, keys, server):
    few = Options(finished_limit=10, result_ttl_ms=1_000)
    many = [f"t{n}" for n in range(5_000)]
    for at in range(0, 5_000, 1_000):
        enqueued(run, keys, *many[at : at + 1_000])
    joined(run, keys)
    claimed(run, keys, limit=5_000)
    server.client.zadd(keys.state("finished"), {f"old{n}": 1 for n in range(9_000)})

    answers = settled(run, keys, {id: Finish() for id in many}, now_ms=NOW + 5, options=few)

    assert answers == [Settled.OK] * 5_000
