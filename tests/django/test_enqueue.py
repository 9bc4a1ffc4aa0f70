"""From a call to a result and back: one and many, blocking and awaiting."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from django_fairque import Priority, Retry
from django_fairque.backend import FairqueBackend
from django_fairque.compat import (
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    task_backends,
    task_enqueued,
)
from django_fairque.engine.errors import Conflict, PartlyStored, QueueFull, Unavailable
from tests.app import tasks
from tests.server import Server

from .conftest import Drain


def settings_with(**changes: object) -> override_settings:
    from django.conf import settings

    return override_settings(FAIRQUE={**settings.FAIRQUE, **changes})


def user_of(result: Any) -> Any:
    return result.task.user_id


def test_a_task_is_ready_then_successful_with_every_time_told(drain: Drain) -> None:
    before = timezone.now()

    result: Any = tasks.add.using(user_id="acme").enqueue(2, b=3)

    assert result.status == TaskResultStatus.READY
    assert (result.args, result.kwargs, result.backend) == ([2], {"b": 3}, "default")
    assert result.enqueued_at is not None and abs(result.enqueued_at - before) < timedelta(minutes=1)
    with pytest.raises(ValueError, match="not finished"):
        _ = result.return_value

    drain()
    result.refresh()

    assert result.status == TaskResultStatus.SUCCESSFUL and result.is_finished
    assert result.return_value == 5
    assert result.attempts == len(result.worker_ids) == 1
    assert result.errors == []
    for moment in (result.enqueued_at, result.started_at, result.last_attempted_at, result.finished_at):
        assert moment is not None and moment.tzinfo is not None
    assert result.enqueued_at <= result.started_at <= result.finished_at


async def test_the_same_when_awaited(drain: Drain) -> None:
    result: Any = await tasks.aadd.using(user_id="acme").aenqueue(2, b=3)
    assert (await tasks.aadd.aget_result(result.id)).status == TaskResultStatus.READY

    await asyncio.to_thread(drain)
    await result.arefresh()

    assert result.return_value == 5


def test_the_stored_result_equals_what_enqueue_returned_except_for_the_server_s_clock() -> None:
    result = tasks.echo.using(user_id="a:b {*} \n", priority=-7).enqueue(
        1, [2.5, None, {"ü": "😀"}], k=(1, 2)
    )
    stored = tasks.echo.get_result(result.id)

    assert stored.args == result.args == [1, [2.5, None, {"ü": "😀"}]]
    assert stored.kwargs == result.kwargs == {"k": [1, 2]}
    assert stored.task == result.task


def test_many_calls_are_tuples_or_dictionaries_and_come_back_in_order(drain: Drain) -> None:
    results = tasks.add.enqueue_many([(1,), (1, 2), {"a": 5}, {"a": 5, "b": 6}], user_id="acme")
    drain()

    assert [tasks.add.get_result(result.id).return_value for result in results] == [1, 3, 5, 11]
    assert {user_of(result) for result in results} == {"acme"}


def test_no_calls_are_no_work() -> None:
    assert tasks.add.enqueue_many([]) == []


async def test_many_awaited_calls_of_more_than_one_chunk() -> None:
    results = await tasks.add.aenqueue_many([(number,) for number in range(2_001)])

    assert len({result.id for result in results}) == 2_001
    assert (await tasks.add.aget_result(results[-1].id)).args == [2_000]


def test_a_bulk_of_several_chunks_says_what_was_stored_when_it_ends_early() -> None:
    with (
        settings_with(USERS={"acme": {"max_backlog": 1_500}}),
        pytest.raises(PartlyStored) as caught,
    ):
        tasks.add.enqueue_many([(number,) for number in range(2_500)], user_id="acme")

    assert len(caught.value.stored) == 1_000 and caught.value.total == 2_500
    assert isinstance(caught.value.reason, QueueFull)
    assert tasks.add.get_result(caught.value.stored[-1]).args == [999]


def test_a_bulk_whose_first_chunk_is_refused_stores_nothing(size) -> None:
    with settings_with(USERS={"acme": {"max_backlog": 10}}), pytest.raises(QueueFull) as caught:
        tasks.add.enqueue_many([(number,) for number in range(11)], user_id="acme")

    assert str(caught.value) == (
        "User 'acme' has 0 waiting tasks of the 10 it may have, and the call would pass that; "
        "nothing was enqueued."
    )
    assert size() == 0


def test_tasks_of_many_users_share_one_call_across_partitions(drain: Drain) -> None:
    with settings_with(PARTITIONS=4):
        calls: list[Any] = [(tasks.add.using(user_id=f"user {n}"), (n,), {}) for n in range(50)]
        backend = task_backends["default"]
        assert isinstance(backend, FairqueBackend)
        results = backend.enqueue_many(calls)
        assert [tasks.add.get_result(result.id).args for result in results] == [[n] for n in range(50)]
        assert {result.id.rpartition("~")[2] for result in results} > {"1", "2"}

        drain()
        assert [tasks.add.get_result(result.id).return_value for result in results] == list(range(50))


def test_an_id_of_one_s_own_enqueues_once() -> None:
    once = tasks.add.using(task_id="invoice 7", user_id="acme")

    assert once.enqueue(1).id == once.enqueue(1).id == "invoice 7"
    with pytest.raises(Conflict):
        once.enqueue(2)
    assert tasks.add.get_result("invoice 7").args == [1]


def test_a_delayed_task_waits_for_its_time(drain: Drain) -> None:
    later = timezone.now() + timedelta(hours=1)
    result = tasks.add.using(run_after=later).enqueue(1)
    short = tasks.add.using(run_after=timedelta(minutes=30)).enqueue(1)

    assert drain() == []
    assert tasks.add.get_result(result.id).status == TaskResultStatus.READY
    stored = tasks.add.get_result(result.id).task.run_after
    assert stored is not None and abs(stored - later) < timedelta(milliseconds=2)
    assert [task.id for task, _ in drain(after_ms=3_700_000)] == [short.id, result.id]


def test_a_naive_run_after_is_allowed_only_without_time_zones() -> None:
    naive = datetime(2030, 1, 1)
    with pytest.raises(InvalidTask, match="aware"):
        tasks.add.using(run_after=naive)
    with override_settings(USE_TZ=False):
        result = tasks.add.using(run_after=naive).enqueue(1)
        found = tasks.add.get_result(result.id)
        assert found.task.run_after == naive
        assert found.enqueued_at is not None and found.enqueued_at.tzinfo is None


def test_only_priority_critical_itself_means_the_critical_lane(drain: Drain) -> None:
    plain = tasks.add.using(priority=6).enqueue(1)
    highest = tasks.add.using(priority=100).enqueue(2)
    critical = tasks.add.using(priority=Priority.CRITICAL).enqueue(3)

    assert [task.id for task, _ in drain()] == [critical.id, highest.id, plain.id]
    assert tasks.add.get_result(critical.id).task.priority is Priority.CRITICAL


def test_queues_are_those_of_the_backend(drain: Drain) -> None:
    backends = {"default": {"BACKEND": "django_fairque.backend.FairqueBackend", "QUEUES": ["mail"]}}
    with override_settings(TASKS=backends):
        with pytest.raises(InvalidTask, match="Queue 'default' is not valid"):
            tasks.add.enqueue(1)
        mail = tasks.add.using(queue_name="mail").enqueue(1)
        assert drain() == []
        assert [task.id for task, _ in drain(queues=("mail",))] == [mail.id]
    with override_settings(TASKS={"default": {**backends["default"], "QUEUES": []}}):
        assert tasks.add.using(queue_name="any at all").enqueue(1).id


def test_a_task_validated_under_other_settings_is_validated_again_at_enqueue() -> None:
    backends = {"default": {"BACKEND": "django_fairque.backend.FairqueBackend", "QUEUES": ["mail"]}}
    with override_settings(TASKS=backends):
        mail = tasks.add.using(queue_name="mail")
        mail.enqueue(1)
    with pytest.raises(InvalidTask, match="Queue 'mail' is not valid"):
        mail.enqueue(1)


def test_an_unknown_id_has_no_result() -> None:
    for unknown in ("nothing", "", "x" * 300, "\ud800", "a~99"):
        with pytest.raises(TaskResultDoesNotExist, match=r"unknown, .* not committed yet, or .* RESULT_TTL"):
            tasks.add.get_result(unknown)


def test_a_result_of_another_task_is_a_mismatch() -> None:
    result = tasks.add.enqueue(1)
    with pytest.raises(TaskResultMismatch):
        tasks.echo.get_result(result.id)


def test_a_name_nobody_loaded_is_a_mismatch_and_is_not_imported(server: Server) -> None:
    import sys

    result = tasks.add.enqueue(1)
    (key,) = [key for key in server.cli("KEYS", "*task:*") if result.id.encode() in key]
    server.cli("HSET", key, "n", "this.opens.something")

    with pytest.raises(TaskResultMismatch, match=r"this\.opens\.something"):
        task_backends["default"].get_result(result.id)
    assert "this" not in sys.modules


def test_the_signal_names_the_backend_s_class_and_the_result() -> None:
    heard = []

    def listen(sender: type, task_result: object, **_: object) -> None:
        heard.append((sender, task_result))

    task_enqueued.connect(listen)
    try:
        one = tasks.add.enqueue(1)
        many = tasks.add.enqueue_many([(2,), (3,)])

        async def awaited() -> list[object]:
            return [await tasks.add.aenqueue(4), *await tasks.add.aenqueue_many([(5,)])]

        asynchronous = asyncio.run(awaited())
    finally:
        task_enqueued.disconnect(listen)

    assert heard == [(FairqueBackend, result) for result in (one, *many, *asynchronous)]


def test_a_task_of_django_s_own_class_is_enqueued_and_run_as_well(drain: Drain) -> None:
    from django_fairque.compat import Task
    from tests.app.tasks import add

    plain: Any = Task(
        func=add.func,
        priority=3,
        backend="default",
        queue_name="default",
        run_after=None,
        takes_context=False,
    )
    result = plain.enqueue(2, 2)
    drain()

    assert plain.get_result(result.id).return_value == 4


def test_a_producer_is_told_soon_that_the_server_is_away() -> None:
    with settings_with(URL="redis://127.0.0.1:1/0"), pytest.raises(Unavailable):
        tasks.add.enqueue(1)


def test_the_default_user_is_a_setting() -> None:
    with settings_with(DEFAULT_USER="everyone"):
        result = tasks.add.enqueue(1)
        assert user_of(tasks.add.get_result(result.id)) == "everyone"
    assert user_of(tasks.for_acme.get_result(tasks.for_acme.enqueue().id)) == "acme"


def test_a_rule_of_the_call_wins_over_the_task_s(drain: Drain) -> None:
    result = tasks.fail.using(retry=Retry.fixed(5, max_attempts=2)).enqueue("once more")

    drain()
    again = tasks.fail.get_result(result.id)
    assert again.status == TaskResultStatus.READY and len(again.errors) == 1
    drain(after_ms=6_000)
    ended = tasks.fail.get_result(result.id)
    assert ended.status == TaskResultStatus.FAILED and len(ended.errors) == 2


def test_times_are_the_server_s(server: Server) -> None:
    seconds, _ = server.cli("TIME")
    stored = tasks.add.get_result(tasks.add.enqueue(1).id)

    assert stored.enqueued_at is not None
    assert abs(stored.enqueued_at - datetime.fromtimestamp(int(seconds), UTC)) < timedelta(seconds=10)
