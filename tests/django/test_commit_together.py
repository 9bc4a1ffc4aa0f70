"""What one transaction enqueues is sent together, and what goes wrong with one call stops no other."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.test import TestCase, override_settings

from django_fairque.compat import TaskResultDoesNotExist
from django_fairque.engine.errors import Conflict, PartlyStored, QueueFull, Unavailable
from django_fairque.site import current
from tests.app import tasks
from tests.app.models import Note

both = pytest.mark.django_db(transaction=True, databases=["default", "other"])
one_for_acme = override_settings(FAIRQUE={**settings.FAIRQUE, "USERS": {"acme": {"max_backlog": 1}}})


def is_stored(result: Any) -> bool:
    try:
        tasks.add.get_result(result.id)
    except TaskResultDoesNotExist:
        return False
    return True


def stored(*results: Any) -> list[bool]:
    return [is_stored(result) for result in results]


def enqueue(user_id: str = "other") -> Any:
    return tasks.add.using(user_id=user_id).enqueue(1)


@both
@one_for_acme
def test_one_user_s_limit_keeps_no_other_call_from_being_sent() -> None:
    with pytest.raises(QueueFull), transaction.atomic():
        results = [enqueue(), enqueue("acme"), enqueue("acme"), enqueue()]
        Note.objects.create(text="kept")
    assert Note.objects.count() == 1
    assert stored(*results) == [True, True, False, True]
    assert [result.enqueued_at is not None for result in results] == [True, True, False, True]


@both
def test_a_conflict_keeps_no_other_call_from_being_sent() -> None:
    tasks.add.using(task_id="taken").enqueue(1)
    with pytest.raises(Conflict), transaction.atomic():
        first = enqueue()
        tasks.add.using(task_id="taken").enqueue(2)
        last = enqueue()
    assert stored(first, last) == [True, True]


@both
@one_for_acme
def test_nor_across_savepoints_other_callbacks_and_a_rolled_back_end() -> None:
    heard: list[str] = []
    enqueue("acme")
    with pytest.raises(QueueFull), transaction.atomic():
        results = [enqueue("acme")]
        with transaction.atomic():
            results.append(enqueue())
        transaction.on_commit(lambda: heard.append("between"))
        results.append(enqueue())
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            results.append(enqueue())
            raise ZeroDivisionError
    assert stored(*results) == [False, True, True, False]
    assert heard == ["between"]


@both
@one_for_acme
@pytest.mark.parametrize(("outer", "inner"), [("default", "other"), ("other", "default")])
def test_nor_with_several_databases(outer: str, inner: str) -> None:
    with pytest.raises(QueueFull), transaction.atomic(using=outer):
        with transaction.atomic(using=inner):
            results = [enqueue("acme"), enqueue("acme"), enqueue()]
        results.append(enqueue())
    assert stored(*results) == [True, False, True, True]


@both
@one_for_acme
def test_the_first_error_is_raised_and_the_others_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    tasks.add.using(task_id="taken").enqueue(1)
    with pytest.raises(QueueFull), transaction.atomic():
        for _ in range(2):
            enqueue("acme")
        with transaction.atomic():
            tasks.add.using(task_id="taken").enqueue(2)
    errors = [
        record.exc_info[0] for record in caplog.records if record.name == "django_fairque" and record.exc_info
    ]
    assert errors == [QueueFull, Conflict]

    # The next transaction knows nothing of it.
    with transaction.atomic():
        assert not is_stored(enqueue())


@both
@one_for_acme
def test_a_bulk_is_still_enqueued_all_or_none() -> None:
    with pytest.raises(QueueFull), transaction.atomic():
        first = enqueue()
        bulk = tasks.add.enqueue_many([(1,), (2,)], user_id="acme")
        last = enqueue()
    assert stored(first, *bulk, last) == [True, False, False, True]


@both
def test_a_bulk_of_several_chunks_in_a_transaction_tells_what_is_stored() -> None:
    limited = override_settings(FAIRQUE={**settings.FAIRQUE, "USERS": {"acme": {"max_backlog": 1_500}}})
    with limited, pytest.raises(PartlyStored) as caught, transaction.atomic():
        results = tasks.add.enqueue_many([(n,) for n in range(2_000)], user_id="acme")
    assert caught.value.results == [*results[:1_000], *[None] * 1_000]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many commands each round trip had."""
    executor = current().executor
    trips: list[int] = []
    run_many = executor.run_many

    def counting(commands: Any, **options: Any) -> Any:
        trips.append(len(commands))
        return run_many(commands, **options)

    monkeypatch.setattr(executor, "run_many", counting)
    return trips


@both
def test_calls_side_by_side_are_sent_in_one_round_trip(sent: list[int]) -> None:
    with transaction.atomic():
        results = [enqueue(f"user {number % 3}") for number in range(200)]
    assert sent == [1]
    assert all(stored(*results))


@both
def test_they_are_sent_in_the_order_of_the_transaction_s_other_callbacks() -> None:
    seen: list[list[bool]] = []
    with transaction.atomic():
        first = enqueue()
        transaction.on_commit(lambda: seen.append(stored(first, second)))
        second = enqueue()
    assert seen == [[True, False]] and is_stored(second)


@both
def test_another_callback_s_error_comes_after_what_was_sent_before() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        first, second = enqueue(), enqueue()
        transaction.on_commit(fail)
    assert stored(first, second) == [True, True]


@both
def test_large_payloads_do_not_travel_in_one_piece(sent: list[int]) -> None:
    with transaction.atomic():
        results = [tasks.echo.enqueue("x" * 400_000) for _ in range(4)]
    assert [len(tasks.echo.get_result(result.id).args[0]) for result in results] == [400_000] * 4
    assert sent == [1, 1]


@both
def test_a_server_that_is_away_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    away = override_settings(FAIRQUE={**settings.FAIRQUE, "URL": "redis://127.0.0.1:1"})
    with away, pytest.raises(Unavailable), transaction.atomic():
        for _ in range(3):
            enqueue()
    assert not [record for record in caplog.records if record.name == "django_fairque"]


class InDjangosTestCase(TestCase):
    """Captured callbacks send what was enqueued while capturing, and nothing from before."""

    databases = {"default", "other"}  # noqa: RUF012

    def test_only_what_was_captured_is_sent(self) -> None:
        before = enqueue()
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            first, second = enqueue(), enqueue()
        self.assertEqual(len(callbacks), 2)
        with self.captureOnCommitCallbacks(execute=True):
            third = enqueue()
        self.assertEqual(stored(before, first, second, third), [False, True, True, True])

    def test_a_failure_reaches_the_test_and_the_rest_is_sent(self) -> None:
        enqueue()  # waits for ever, and keeps no error back
        with one_for_acme, self.assertRaises(QueueFull), self.captureOnCommitCallbacks(execute=True):
            results = [enqueue("acme"), enqueue("acme"), enqueue()]
        self.assertEqual(stored(*results), [True, False, True])

    def test_what_a_callback_enqueues_is_captured_as_well(self) -> None:
        inner: list[Any] = []
        with self.captureOnCommitCallbacks(execute=True):
            outer = enqueue()
            transaction.on_commit(lambda: inner.append(enqueue()))
        self.assertEqual(stored(outer, *inner), [True, True])
