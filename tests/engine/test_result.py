from __future__ import annotations

import pytest

from django_fairque.engine.result import read
from django_fairque.engine.serve import Serve
from django_fairque.engine.task import Bury, Finish, Priority, Retry, State, TaskRecord

from .given import NOW, claimed, enqueued, joined, record, settled


def test_an_unknown_task_has_no_record(run, keys):
    assert run(read(keys, "never")) is None


def test_a_record_tells_the_whole_story_of_a_task(run, keys):
    enqueued(run, keys, "a", queue="mail", priority=5, payload=b"{}", run_at_ms=NOW + 100, user_id="a:b")
    mail = Serve(queues=("mail",))
    joined(run, keys)
    claimed(run, keys, now_ms=NOW + 200, serve=mail)
    settled(run, keys, {"a": Retry(50, b"boom")}, now_ms=NOW + 300)
    claimed(run, keys, call=2, now_ms=NOW + 400, serve=mail)
    settled(run, keys, {"a": Finish(b"42")}, call=2, now_ms=NOW + 500)

    assert run(read(keys, "a")) == TaskRecord(
        id="a", name="send", user_id="a:b", queue="mail", priority=5, state=State.FINISHED, payload=b"{}",
        attempts=1, lost=0, enqueued_ms=NOW, run_at_ms=NOW + 100, first_started_ms=NOW + 200,
        started_ms=NOW + 400, finished_ms=NOW + 500, result=b"42", reason="", errors=(b"boom",),
        workers=("w1", "w1"),
    )  # fmt: skip


def test_reading_changes_nothing(run, keys, server):
    enqueued(run, keys, "a")
    before = server.cli("DUMP", keys.task("a"))

    for _ in range(3):
        record(run, keys, "a")

    assert server.cli("DUMP", keys.task("a")) == before


@pytest.mark.parametrize("priority", [-100, 0, 6, 100, Priority.CRITICAL], ids=repr)
def test_a_priority_is_read_as_it_was_given(run, keys, priority):
    enqueued(run, keys, "a", priority=priority)
    joined(run, keys)

    found = record(run, keys, "a").priority
    assert found == priority
    assert (found is Priority.CRITICAL) == (priority is Priority.CRITICAL)
    assert claimed(run, keys).tasks[0].priority == priority


def test_an_error_and_a_reason_may_be_long_and_hold_any_bytes(run, keys):
    enqueued(run, keys, "a")
    joined(run, keys)
    claimed(run, keys)
    error = bytes(range(256)) * 1_000

    settled(run, keys, {"a": Bury("🦜 " * 1_000, error)})

    found = record(run, keys, "a")
    assert found.errors == (error,)
    assert found.reason == "🦜 " * 1_000


def test_a_result_whose_value_has_expired_is_no_result(run, keys, server):
    enqueued(run, keys, "a", payload=b"x" * 100)
    joined(run, keys)
    claimed(run, keys)
    settled(run, keys, {"a": Finish(b"y" * 100)})
    server.cli("DEL", keys.result("a"), keys.body("a"))

    found = record(run, keys, "a")
    assert (found.result, found.payload, found.state) == (None, b"", State.FINISHED)


@pytest.mark.parametrize("fields", [("nonsense", "1"), ("s", "nonsense"), ("e", "soon"), ("n", b"\xff")])
def test_garbage_in_a_record_does_not_stop_the_reader(run, keys, server, fields):
    server.cli("HSET", keys.task("a"), *fields)

    found = record(run, keys, "a")
    assert found.id == "a"


def test_a_record_of_the_wrong_type_is_no_record(run, keys, server):
    server.cli("SET", keys.task("a"), "garbage")

    assert run(read(keys, "a")) is None
