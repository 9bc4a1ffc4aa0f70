"""Many calls, and what is known of them when something goes wrong on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from django_fairque.compat import InvalidTask, TaskResultDoesNotExist, task_backends, task_enqueued
from django_fairque.engine.errors import PartlyStored, QueueFull
from django_fairque.site import current
from tests.app import tasks

Call = tuple[Any, tuple[Any, ...], dict[str, Any]]
Many = Callable[[list[Call]], list[Any]]


def settings_with(**changes: object) -> override_settings:
    return override_settings(FAIRQUE={**settings.FAIRQUE, **changes})


def _many(calls: list[Call]) -> list[Any]:
    return task_backends["default"].enqueue_many(calls)  # type: ignore[attr-defined,no-any-return]


def _amany(calls: list[Call]) -> list[Any]:
    return asyncio.run(task_backends["default"].aenqueue_many(calls))  # type: ignore[attr-defined]


@pytest.fixture(params=[_many, _amany], ids=["sync", "async"])
def many(request: pytest.FixtureRequest) -> Many:
    return request.param  # type: ignore[no-any-return]


def is_stored(result: Any) -> bool:
    try:
        tasks.add.get_result(result.id)
    except TaskResultDoesNotExist:
        return False
    return True


@pytest.fixture
def heard() -> Iterator[list[str]]:
    ids: list[str] = []

    def listen(task_result: Any, **_: object) -> None:
        ids.append(task_result.id)
        raise ZeroDivisionError

    task_enqueued.connect(listen)
    yield ids
    task_enqueued.disconnect(listen)


def test_a_receiver_that_raises_is_logged_and_stops_nothing(
    many: Many, heard: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    results = many([(tasks.add, (number,), {}) for number in range(1_001)])

    assert heard == [result.id for result in results]
    assert is_stored(results[-1])
    assert any(record.exc_info and record.exc_info[0] is ZeroDivisionError for record in caplog.records)


def test_neither_with_single_calls(heard: list[str]) -> None:
    one = tasks.add.enqueue(1)
    two = asyncio.run(tasks.add.aenqueue(1))

    assert heard == [one.id, two.id]
    assert one.enqueued_at is not None and two.enqueued_at is not None


def test_what_is_stored_is_told_before_the_error_and_named_in_the_calls_order(
    many: Many, heard: list[str]
) -> None:
    with settings_with(PARTITIONS=4, USERS={"acme": {"max_backlog": 1}}):
        users = [f"user {number}" for number in range(20)]
        users[5:5] = ["acme"]
        users[9:9] = ["acme"]
        calls: list[Call] = [(tasks.add.using(user_id=user), (1,), {}) for user in users]
        with pytest.raises(PartlyStored) as caught:
            many(calls)

        error, space = caught.value, current().space
        missing = space.partition_of("acme")
        assert isinstance(error.reason, QueueFull) and error.total == len(error.results) == len(calls)
        assert [result is None for result in error.results] == [
            space.partition_of(user) == missing for user in users
        ]
        kept = [result for result in error.results if result is not None]
        assert error.stored == [result.id for result in kept]
        assert sorted(heard) == sorted(error.stored)
        assert all(result.enqueued_at is not None and is_stored(result) for result in kept)


def test_of_several_chunks_the_results_of_the_first_are_told(many: Many) -> None:
    with settings_with(USERS={"acme": {"max_backlog": 1_500}}), pytest.raises(PartlyStored) as caught:
        many([(tasks.add.using(user_id="acme"), (number,), {}) for number in range(2_001)])

    results = caught.value.results
    assert [result is None for result in results] == [False] * 1_000 + [True] * 1_001
    assert results[999].enqueued_at is not None


def test_async_code_cannot_wait_for_a_commit(size: Callable[[], int]) -> None:
    waits = tasks.add.using(enqueue_on_commit=True)
    with pytest.raises(InvalidTask, match="aenqueue"):
        asyncio.run(waits.aenqueue(1))
    with pytest.raises(InvalidTask, match="aenqueue"):
        asyncio.run(waits.aenqueue_many([(1,)]))
    assert size() == 0

    assert is_stored(asyncio.run(tasks.add.aenqueue(1)))


def test_the_longest_id_can_be_read_in_any_partition() -> None:
    with settings_with(PARTITIONS=1_024):
        results = [
            tasks.add.using(user_id=f"user {number}", task_id=f"{number}" + "x" * 255).enqueue(number)
            for number in range(3)
        ]
        assert max(len(result.id) for result in results) > 256
        assert [tasks.add.get_result(result.id).args for result in results] == [[0], [1], [2]]
