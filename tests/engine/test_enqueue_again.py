"""Enqueueing is idempotent by id: a call sent again changes nothing, other work is a conflict."""

from __future__ import annotations

import pytest

from django_fairque.engine.cancel import cancel
from django_fairque.engine.enqueue import Enqueued, enqueue, new_ids
from django_fairque.engine.errors import Conflict
from django_fairque.engine.stats import stats
from django_fairque.engine.task import Bury, Finish, Park, Retry

from .given import NOW, claimed, enqueued, ids, in_states, joined, names, new, record, settled


def started(run, keys):
    joined(run, keys)
    claimed(run, keys)


STORIES = {
    "queued": [],
    "started": [started],
    "finished": [started, lambda run, keys: settled(run, keys, {"a": Finish(b"1")})],
    "retried": [started, lambda run, keys: settled(run, keys, {"a": Retry(1_000, b"{}")})],
    "parked": [started, lambda run, keys: settled(run, keys, {"a": Park(1_000, "unknown")})],
    "failed": [started, lambda run, keys: settled(run, keys, {"a": Bury("no", b"{}")})],
    "canceled": [lambda run, keys: run(cancel(keys, "a", now_ms=NOW))],
}


@pytest.mark.parametrize("payload", [b"short", b"long" * 100], ids=["short", "long"])
@pytest.mark.parametrize("story", STORIES)
def test_enqueueing_an_id_again_says_so_and_changes_nothing(run, keys, server, story, payload):
    enqueued(run, keys, "a", payload=payload)
    for step in STORIES[story]:
        step(run, keys)
    before, stored = record(run, keys, "a"), names(server, keys)

    assert enqueued(run, keys, "a", payload=payload, now_ms=NOW + 500) == Enqueued(0, ("a",))

    assert record(run, keys, "a") == before
    assert names(server, keys) == stored


def test_a_scheduled_id_again_keeps_its_time(run, keys):
    enqueued(run, keys, "a", run_at_ms=NOW + 1_000)

    assert enqueued(run, keys, "a", run_at_ms=NOW + 9_000, priority=5) == Enqueued(0, ("a",))
    assert record(run, keys, "a").run_at_ms == NOW + 1_000


@pytest.mark.parametrize("payload", [b"short", b"long" * 100], ids=["short", "long"])
@pytest.mark.parametrize(
    "other",
    [
        {"user_id": "globex"}, {"name": "other"}, {"queue": "mail"}, {"payload": b"other"},
        {"payload": b"othr" * 100}, {"payload": b""},
    ],
    ids="-".join,
)  # fmt: skip
def test_an_id_that_carries_other_work_is_a_conflict(run, keys, server, payload, other):
    enqueued(run, keys, "taken", payload=payload)
    before = names(server, keys)

    with pytest.raises(Conflict) as refused:
        run(enqueue(keys, [new("free"), new("taken", **{"payload": payload, **other})], now_ms=NOW))

    assert refused.value.task_id == "taken"
    assert names(server, keys) == before
    assert in_states(run, keys) == {"queued": 1}


def test_a_canceled_or_finished_id_with_other_work_is_a_conflict_too(run, keys):
    enqueued(run, keys, "a", "b")
    run(cancel(keys, "b", now_ms=NOW))
    started(run, keys)
    settled(run, keys, {"a": Finish()})

    for id in ("a", "b"):
        with pytest.raises(Conflict):
            enqueued(run, keys, id, payload=b"other")


def test_twins_inside_one_call_are_one_task(run, keys):
    assert run(enqueue(keys, [new("a"), new("b"), new("a")], now_ms=NOW)) == Enqueued(2, ("a",))

    joined(run, keys)
    assert ids(claimed(run, keys)) == ["a", "b"]


def test_twins_that_differ_are_a_conflict_and_nothing_is_written(run, keys, server):
    with pytest.raises(Conflict):
        run(enqueue(keys, [new("a"), new("a", payload=b"other")], now_ms=NOW))

    assert not names(server, keys)


def test_new_and_known_ids_may_come_in_one_call(run, keys):
    enqueued(run, keys, "a", "c")

    assert enqueued(run, keys, "a", "b", "c", "d") == Enqueued(2, ("a", "c"))
    assert in_states(run, keys) == {"queued": 4}


@pytest.mark.parametrize("given", [True, False], ids=["given", "drawn"])
def test_a_call_sent_again_after_its_reply_was_lost_adds_nothing(run, keys, given):
    many = new_ids(30)
    call = enqueue(keys, [new(id) for id in many], given=given, now_ms=NOW)
    run(call)
    joined(run, keys)
    assert ids(claimed(run, keys, limit=3)) == many[:3]
    settled(run, keys, {many[0]: Finish(), many[1]: Bury("no")})

    assert run(call) == Enqueued(0, tuple(many))

    assert ids(claimed(run, keys, call=2)) == many[3:]
    assert in_states(run, keys) == {"started": 28, "finished": 1, "failed": 1}
    assert run(stats(keys, since=NOW // 60_000, now_ms=NOW)).minutes[0].enqueued == 30
