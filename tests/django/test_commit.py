"""Tasks enqueued inside a transaction: sent after the commit of every database it concerns, or never."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.conf import settings
from django.db import transaction
from django.test import TestCase, override_settings

from django_fairque.compat import TaskResultDoesNotExist, TaskResultStatus, task_enqueued
from django_fairque.engine.errors import Unavailable
from tests.app import tasks
from tests.app.models import Note

both = pytest.mark.django_db(transaction=True, databases=["default", "other"])

Size = Callable[[], int]


def is_stored(result_id: str) -> bool:
    try:
        tasks.add.get_result(result_id)
    except TaskResultDoesNotExist:
        return False
    return True


@both
def test_a_task_is_sent_at_the_commit_and_has_its_id_at_once() -> None:
    with transaction.atomic():
        result = tasks.add.enqueue(1)
        assert result.id and result.status == TaskResultStatus.READY and result.enqueued_at is None
        assert not is_stored(result.id)
    assert is_stored(result.id) and result.enqueued_at is not None


@both
def test_a_rollback_enqueues_nothing(size: Size) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        tasks.add.enqueue(1)
        tasks.add.enqueue_many([(1,), (2,)])
        raise ZeroDivisionError
    assert size() == 0


@both
def test_a_savepoint_s_rollback_takes_its_own_tasks_only() -> None:
    with transaction.atomic():
        outer = tasks.add.enqueue(1)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            inner = tasks.add.enqueue(2)
            raise ZeroDivisionError
        last = tasks.add.enqueue(3)
    assert [is_stored(result.id) for result in (outer, inner, last)] == [True, False, True]


@both
def test_outside_a_transaction_nothing_waits() -> None:
    assert is_stored(tasks.add.enqueue(1).id)


@both
def test_the_other_database_s_transaction_counts_as_well() -> None:
    with transaction.atomic(using="other"):
        result = tasks.add.enqueue(1)
        assert not is_stored(result.id)
    assert is_stored(result.id)


@both
def test_a_connection_that_is_open_but_in_no_transaction_does_not_count() -> None:
    Note.objects.using("default").count()
    with transaction.atomic(using="other"):
        result = tasks.add.enqueue(1)
    assert is_stored(result.id)


@both
@pytest.mark.parametrize(("first", "second"), [("default", "other"), ("other", "default")])
def test_of_two_open_transactions_the_last_commit_sends(first: str, second: str) -> None:
    with transaction.atomic(using=first):
        with transaction.atomic(using=second):
            result = tasks.add.enqueue(1)
        assert not is_stored(result.id)
    assert is_stored(result.id)


@both
@pytest.mark.parametrize(("first", "second"), [("default", "other"), ("other", "default")])
def test_of_two_open_transactions_either_rollback_enqueues_nothing(
    first: str, second: str, size: Size
) -> None:
    # The inner fails and the outer commits.
    with transaction.atomic(using=first), pytest.raises(ZeroDivisionError), transaction.atomic(using=second):
        tasks.add.enqueue(1)
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=first):
        with transaction.atomic(using=second):
            tasks.add.enqueue(1)
        raise ZeroDivisionError
    assert size() == 0


@both
def test_it_can_be_told_not_to_wait() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        one = tasks.add.using(enqueue_on_commit=False).enqueue(1)
        two = tasks.add.using(immediate=True).enqueue(1)
        assert is_stored(one.id) and is_stored(two.id)
        raise ZeroDivisionError
    assert is_stored(one.id)


@both
def test_the_setting_is_the_default_and_a_task_may_differ() -> None:
    with override_settings(FAIRQUE={**settings.FAIRQUE, "ENQUEUE_ON_COMMIT": False}), transaction.atomic():
        assert is_stored(tasks.add.enqueue(1).id)
        waits = tasks.add.using(enqueue_on_commit=True).enqueue(1)
        assert not is_stored(waits.id)
    assert is_stored(waits.id)


@both
def test_a_bulk_may_hold_both_kinds() -> None:
    from django_fairque.backend import FairqueBackend
    from django_fairque.compat import task_backends

    backend = task_backends["default"]
    assert isinstance(backend, FairqueBackend)
    with transaction.atomic():
        now, later = backend.enqueue_many(
            [(tasks.add.using(immediate=True), (1,), {}), (tasks.add, (2,), {})]
        )
        assert (is_stored(now.id), is_stored(later.id)) == (True, False)
    assert is_stored(later.id)


@both
def test_arguments_are_those_at_the_time_of_the_call() -> None:
    mutable = [1]
    with transaction.atomic():
        result = tasks.echo.enqueue(mutable)
        mutable.append(2)
    assert tasks.echo.get_result(result.id).args == [[1]]


@both
def test_bad_arguments_are_refused_at_the_call_not_at_the_commit() -> None:
    with transaction.atomic():
        with pytest.raises(TypeError):
            tasks.echo.enqueue(object())
        Note.objects.create(text="kept")
    assert Note.objects.count() == 1


@both
def test_a_failure_at_the_commit_reaches_the_committer_and_the_data_is_kept() -> None:
    with (
        override_settings(FAIRQUE={**settings.FAIRQUE, "URL": "redis://127.0.0.1:1"}),
        pytest.raises(Unavailable),
        transaction.atomic(),
    ):
        Note.objects.create(text="kept")
        tasks.add.enqueue(1)
    assert Note.objects.count() == 1


@both
def test_the_signal_is_sent_when_the_task_is() -> None:
    heard: list[str] = []

    def listen(task_result, **_: object) -> None:
        heard.append(task_result.id)

    task_enqueued.connect(listen)
    try:
        with transaction.atomic():
            result = tasks.add.enqueue(1)
            assert heard == []
    finally:
        task_enqueued.disconnect(listen)
    assert heard == [result.id]


class InDjangosTestCase(TestCase):
    """What people see in their own tests, which Django wraps in a transaction."""

    databases = {"default", "other"}  # noqa: RUF012

    def test_callbacks_are_captured_once(self) -> None:
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            result = tasks.add.enqueue(1)
        self.assertEqual(len(callbacks), 1)
        self.assertTrue(is_stored(result.id))

    def test_an_own_transaction_counts_for_its_database(self) -> None:
        with self.captureOnCommitCallbacks(using="other", execute=True), transaction.atomic(using="other"):
            result = tasks.add.enqueue(1)
        self.assertTrue(is_stored(result.id))
