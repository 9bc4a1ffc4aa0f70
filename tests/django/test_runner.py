"""What happens around a task in the worker: results, errors, signals, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, connections
from django.test import override_settings
from django.utils import timezone, translation

from django_fairque.backend import FairqueBackend
from django_fairque.compat import TaskResultStatus, task_finished, task_started
from django_fairque.engine import errors
from django_fairque.engine.task import Bury, Claimed, Finish, Retry, State, TaskRecord
from django_fairque.engine.work import report
from django_fairque.results import result_of
from django_fairque.runner import DjangoRunner
from tests.app import tasks
from tests.app.models import Note

from .conftest import Drain

rows = pytest.mark.django_db(transaction=True)


def claimed(task: Any, *args: Any, attempt: int = 1, payload: bytes | None = None) -> Claimed:
    return Claimed(
        id="id",
        call=1,
        name=task.module_path,
        user_id="acme",
        queue="default",
        priority=0,
        payload=json.dumps([args, {}]).encode() if payload is None else payload,
        attempt=attempt,
        deliveries=attempt,
        enqueued_ms=1_800_000_000_000,
        started_ms=1_800_000_000_000,
        run_at_ms=None,
        workers=("worker",) * attempt,
    )


@contextmanager
def listening(*signals: Any, to: Callable[..., Any]) -> Iterator[None]:
    for signal in signals:
        signal.connect(to, weak=False)
    try:
        yield
    finally:
        for signal in signals:
            signal.disconnect(to)


@pytest.fixture
def runner() -> DjangoRunner:
    return DjangoRunner()


def ran(runner: DjangoRunner, task: Any, *args: Any, **about: Any) -> Any:
    one = claimed(task, *args, **about)
    return asyncio.run(runner.arun(one)) if runner.is_async(one.name) else runner.run(one)


@pytest.mark.parametrize("task", [tasks.add, tasks.aadd])
def test_what_a_task_returns_is_its_result(runner: DjangoRunner, task: Any) -> None:
    outcome = ran(runner, task, 2, 3)
    assert isinstance(outcome, Finish) and outcome.result == b"5" and outcome.run_ms > 0


def test_only_registered_names_are_known(runner: DjangoRunner) -> None:
    assert runner.knows("tests.app.tasks.add")
    assert not runner.knows("os.system") and not runner.knows("tests.app.tasks.plain")


@pytest.mark.parametrize("task", [tasks.fail, tasks.afail])
def test_an_error_is_told_with_class_and_traceback(drain: Drain, task: Any) -> None:
    result = task.using(user_id="acme").enqueue("no such order")
    drain()
    result.refresh()

    assert result.status == TaskResultStatus.FAILED and result.is_finished
    (error,) = result.errors
    assert error.exception_class_path == "builtins.ValueError" and error.exception_class is ValueError
    assert "no such order" in error.traceback and "tasks.py" in error.traceback
    with pytest.raises(ValueError, match="failed"):
        _ = result.return_value


def test_an_error_of_a_class_nobody_loaded_is_not_imported() -> None:
    from django_fairque.results import FairqueTaskError

    error = FairqueTaskError(exception_class_path="this.Error", traceback="")
    with pytest.raises(ImportError):
        _ = error.exception_class
    assert "this" not in sys.modules
    with pytest.raises(ValueError, match="not reference a valid exception"):
        _ = FairqueTaskError(exception_class_path="os.path.join", traceback="").exception_class


def buried(reason: str, *, canceled: bool = False, errors: tuple[bytes, ...] = ()) -> TaskRecord:
    return TaskRecord(
        id="id",
        state=State.CANCELED if canceled else State.FAILED,
        name=tasks.add.module_path,
        user_id="acme",
        queue="default",
        priority=0,
        payload=b"[[1],{}]",
        attempts=1,
        lost=3,
        enqueued_ms=1_800_000_000_000,
        run_at_ms=None,
        first_started_ms=None,
        started_ms=None,
        finished_ms=1_800_000_001_000,
        result=None,
        reason=reason,
        errors=errors,
    )


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (buried("its worker was lost 3 times"), errors.WorkerLost),
        (buried("its worker was lost 3 times", errors=(b"of an earlier attempt",)), errors.WorkerLost),
        (buried("corrupt: its record in Redis is incomplete"), errors.Corrupt),
        (buried("", canceled=True), errors.Canceled),
    ],
)
def test_a_task_that_no_exception_ended_has_a_class_nevertheless(
    record: TaskRecord, kind: type[Exception]
) -> None:
    error = result_of(record, "default").errors[-1]
    assert error.exception_class is kind and error.traceback == (record.reason or "canceled")


@pytest.mark.parametrize("task", [tasks.unprintable, tasks.surrogate, tasks.leave, tasks.aleave])
def test_whatever_a_task_raises_ends_one_attempt(runner: DjangoRunner, task: Any) -> None:
    outcome = ran(runner, task)
    assert isinstance(outcome, Bury) and outcome.reason
    assert json.loads(outcome.error)["class"].endswith(("Unprintable", "ValueError", "SystemExit"))


def test_a_result_that_is_no_json_or_too_long_fails_the_attempt(runner: DjangoRunner) -> None:
    outcome = ran(runner, tasks.return_object)
    assert isinstance(outcome, Bury) and "TypeError" in outcome.reason and "return_object" in outcome.reason
    with override_settings(FAIRQUE={**settings.FAIRQUE, "MAX_RESULT": 100}):
        outcome = ran(runner, tasks.return_long, 200)
    assert isinstance(outcome, Bury) and "202 bytes" in outcome.reason and "MAX_RESULT" in outcome.reason


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[]", b"[1,2]", b"[[],[]]", b"[[],{},1]", b"\xff", b"[" * 99_999]
)
def test_a_payload_that_is_no_call_is_buried(runner: DjangoRunner, payload: bytes) -> None:
    assert isinstance(runner.run(claimed(tasks.add, payload=payload)), Bury)


def test_wrong_arguments_are_the_task_s_error(runner: DjangoRunner) -> None:
    outcome = ran(runner, tasks.add, 1, 2, 3, 4)
    assert isinstance(outcome, Bury) and "TypeError" in outcome.reason


def test_a_rule_decides_between_retry_and_burial(drain: Drain) -> None:
    result: Any = tasks.for_acme.enqueue()
    ((_, first),) = drain()
    assert isinstance(first, Retry) and first.delay_ms == 5_000
    result.refresh()
    assert result.status == TaskResultStatus.READY and result.attempts == 1

    ((_, second),) = drain(after_ms=6_000)
    ((third, last),) = drain(after_ms=12_000)
    assert isinstance(second, Retry) and isinstance(last, Bury) and third.attempt == 3
    result.refresh()
    assert result.status == TaskResultStatus.FAILED
    assert (len(result.errors), result.attempts) == (3, 3)


def test_the_context_tells_attempt_id_and_user(runner: DjangoRunner) -> None:
    outcome = ran(runner, tasks.attempt_of, "x", attempt=2)
    assert json.loads(outcome.result) == [2, "id", "acme", "x"]


@pytest.mark.parametrize("task", [tasks.add, tasks.aadd])
def test_signals_tell_start_and_end(runner: DjangoRunner, task: Any) -> None:
    heard = []

    def listen(sender: Any, task_result: Any, signal: Any, **_: Any) -> None:
        value = task_result.return_value if task_result.is_finished else None
        heard.append((signal, sender, task_result.status, value, task_result.worker_ids))

    with listening(task_started, task_finished, to=listen):
        ran(runner, task, 1, 1)

    assert heard == [
        (task_started, FairqueBackend, TaskResultStatus.RUNNING, None, ["worker"]),
        (task_finished, FairqueBackend, TaskResultStatus.SUCCESSFUL, 2, ["worker"]),
    ]


@pytest.mark.parametrize("task", [tasks.fail, tasks.afail])
def test_the_end_of_a_failed_task_is_told_while_its_error_is_at_hand(runner: DjangoRunner, task: Any) -> None:
    heard = []

    def listen(task_result: Any, **_: Any) -> None:
        heard.append((task_result.status, len(task_result.errors), str(sys.exc_info()[1])))

    with listening(task_finished, to=listen):
        ran(runner, task, "gone wrong")
    assert heard == [(TaskResultStatus.FAILED, 1, "gone wrong")]


def test_a_retry_is_not_the_end_and_its_one_line_is_the_worker_s(
    runner: DjangoRunner, caplog: pytest.LogCaptureFixture
) -> None:
    heard = []
    with (
        listening(task_finished, to=lambda **about: heard.append(about)),
        caplog.at_level(logging.WARNING, "django_fairque"),
    ):
        outcome = ran(runner, tasks.for_acme)
    assert isinstance(outcome, Retry) and heard == []
    assert not caplog.records

    with caplog.at_level(logging.WARNING, "django_fairque"):
        report.ended(claimed(tasks.for_acme), outcome, "worker")
    (record,) = caplog.records
    assert record.message.endswith("failed in attempt 1 and is tried again in 5.0 s: ValueError: not yet")
    assert record.__dict__["user_id"] == "acme" and record.__dict__["task_id"] == "id"


@pytest.mark.parametrize(
    ("error", "told"), [(b"first\nlast \xff\n", "last \ufffd"), (b"[1]", "[1]"), (b"", "no reason given")]
)
def test_an_error_that_is_no_record_is_told_by_its_last_line(
    caplog: pytest.LogCaptureFixture, error: bytes, told: str
) -> None:
    report.ended(claimed(tasks.add), Retry(5_000, error), "worker")
    assert caplog.messages[0].endswith(f": {told}")


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("task", [tasks.add, tasks.aadd])
def test_a_receiver_changes_no_outcome(runner: DjangoRunner, task: Any, error: type[BaseException]) -> None:
    def fails(**_: Any) -> None:
        raise error("from a receiver")

    with listening(task_started, task_finished, to=fails):
        outcome = ran(runner, task, 1, 1)
    assert isinstance(outcome, Finish) and outcome.result == b"2"


@pytest.mark.parametrize("task", [tasks.add, tasks.aadd])
def test_an_awaiting_receiver_is_heard(runner: DjangoRunner, task: Any) -> None:
    heard = []

    async def listen(task_result: Any, **_: Any) -> None:
        heard.append(task_result.id)

    with listening(task_finished, to=listen):
        ran(runner, task, 1, 1)
    assert heard == ["id"]


def test_language_zone_and_variables_do_not_reach_the_next_task(runner: DjangoRunner) -> None:
    expected = [settings.LANGUAGE_CODE, settings.TIME_ZONE, "untouched"]
    token = tasks.variable.set("set by the worker's own thread")
    with translation.override("fr"), timezone.override("Asia/Kolkata"):
        assert json.loads(ran(runner, tasks.read_marks).result) == expected
        ran(runner, tasks.leave_marks)
        assert json.loads(ran(runner, tasks.read_marks).result) == expected
        assert translation.get_language() == "fr"
    assert tasks.variable.get() == "set by the worker's own thread"
    tasks.variable.reset(token)


def test_nor_the_next_task_on_the_event_loop(runner: DjangoRunner) -> None:
    async def both() -> Any:
        await asyncio.create_task(runner.arun(claimed(tasks.aleave_marks)))
        return await asyncio.create_task(runner.arun(claimed(tasks.aread_marks)))

    assert json.loads(asyncio.run(both()).result) == [settings.LANGUAGE_CODE, settings.TIME_ZONE, "untouched"]


@rows
def test_a_task_writes_rows(drain: Drain) -> None:
    result = tasks.write.enqueue("written")
    drain()
    assert Note.objects.get(pk=tasks.write.get_result(result.id).return_value).text == "written"


@rows
def test_an_async_task_writes_rows(drain: Drain) -> None:
    result: Any = tasks.awrite.enqueue("written")
    drain()
    result.refresh()
    assert Note.objects.get(pk=result.return_value).text == "written"


@rows
def test_a_transaction_left_open_is_rolled_back(
    runner: DjangoRunner, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "django_fairque"):
        assert isinstance(ran(runner, tasks.leave_transaction_open, "lost"), Finish)
    assert "left a transaction open" in caplog.text
    assert not connection.in_atomic_block
    ran(runner, tasks.write, "kept")
    assert [note.text for note in Note.objects.all()] == ["kept"]


@rows
def test_connections_are_closed_after_the_task_unless_they_may_live(runner: DjangoRunner) -> None:
    connection.close()
    ran(runner, tasks.connection_id)
    assert connection.connection is None

    connection.settings_dict["CONN_MAX_AGE"] = None
    try:
        first, second = ran(runner, tasks.connection_id), ran(runner, tasks.connection_id)
        assert first.result == second.result and connection.connection is not None
    finally:
        connection.settings_dict["CONN_MAX_AGE"] = 0
        connection.close()


@rows
def test_the_log_of_queries_does_not_grow_from_task_to_task(runner: DjangoRunner) -> None:
    connection.force_debug_cursor = True
    try:
        ran(runner, tasks.write, "logged")
        assert connection.queries == []
    finally:
        connection.force_debug_cursor = False


@rows
def test_a_thread_that_ends_closes_its_connections(runner: DjangoRunner) -> None:
    connection.ensure_connection()
    runner.close_thread()
    assert connection.connection is None


@rows
def test_blocking_code_of_an_async_task_leaves_no_connection_open(runner: DjangoRunner) -> None:
    tasks.seen.clear()
    assert ran(runner, tasks.call_blocking).result == b"true"
    (opened,) = tasks.seen
    with pytest.raises(Exception, match="closed"):
        opened.cursor()


@rows
def test_a_task_inside_a_test_s_own_transaction_leaves_that_alone(runner: DjangoRunner) -> None:
    from django.db import transaction

    with transaction.atomic():
        ran(runner, tasks.write, "inside")
        assert connection.in_atomic_block
        transaction.set_rollback(True)
    assert Note.objects.count() == 0


def test_a_connection_nobody_can_use_is_replaced(runner: DjangoRunner) -> None:
    class Broken:
        alias = "other"
        in_atomic_block = False
        queries_log: list[str] = []  # noqa: RUF012
        connection = object()

        def close_if_unusable_or_obsolete(self) -> None:
            raise OSError("gone")

        close = close_if_unusable_or_obsolete

    usual = connections["other"]
    broken: Any = Broken()
    connections["other"] = broken
    try:
        assert isinstance(ran(runner, tasks.add, 1), Finish)
        assert connections["other"] is not broken
    finally:
        connections["other"] = usual


def test_a_task_enqueues_others(drain: Drain) -> None:
    result = tasks.enqueue_another.using(user_id="acme").enqueue()
    drain()
    inner = tasks.enqueue_another.get_result(result.id).return_value
    assert tasks.add.get_result(inner).return_value == 3


def test_backends_and_caches_are_made_once_for_a_thread(runner: DjangoRunner) -> None:
    from django.core.cache import caches

    from django_fairque import hygiene
    from django_fairque.compat import task_backends

    def both() -> tuple[int, int]:
        return id(caches["default"]), id(task_backends["default"])

    assert hygiene.fresh_context().run(both) == hygiene.fresh_context().run(both)


def test_and_once_for_an_event_loop(runner: DjangoRunner) -> None:
    async def both() -> list[Any]:
        one = claimed(tasks.acache_id)
        return [await asyncio.create_task(runner.arun(one)) for _ in range(2)]

    first, second = Context().run(asyncio.run, both())
    assert first.result == second.result


def test_a_long_traceback_keeps_its_end(runner: DjangoRunner) -> None:
    outcome = ran(runner, tasks.fail, "x" * 50_000 + "the end")
    error = json.loads(outcome.error)
    assert len(error["traceback"]) < 20_000 and error["traceback"].rstrip().endswith("the end")
    assert len(outcome.reason) < 1_000
