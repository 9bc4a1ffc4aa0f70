"""Django's view of one task's record: ``TaskResult``, its errors and its times."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.utils import timezone

from . import registry
from .compat import AnyTask, TaskError, TaskResult, TaskResultMismatch, TaskResultStatus
from .engine.errors import Canceled, Corrupt, FairqueError, WorkerLost
from .engine.retry import dotted
from .engine.task import State, TaskRecord
from .fairque_task import FairqueTask, copy_of
from .payload import loads, unpack_call

if TYPE_CHECKING:
    _Result = TaskResult[Any, Any]
else:
    _Result = TaskResult

STATUS = {
    State.SCHEDULED: TaskResultStatus.READY,
    State.DEFERRED: TaskResultStatus.READY,
    State.QUEUED: TaskResultStatus.READY,
    State.STARTED: TaskResultStatus.RUNNING,
    State.FINISHED: TaskResultStatus.SUCCESSFUL,
    State.FAILED: TaskResultStatus.FAILED,
    State.CANCELED: TaskResultStatus.FAILED,
}

# How the reasons begin that the server gives when it buries a task by itself.
_ENDINGS: dict[str, type[FairqueError]] = {"its worker was lost": WorkerLost, "corrupt": Corrupt}


class FairqueTaskResult(_Result):
    """A task's result whose arguments are JSON already."""

    __slots__ = ()

    def __post_init__(self) -> None:
        # Django normalises the arguments here; the payload was packed from the very same values.
        pass


class FairqueTaskError(TaskError):
    """What ended an attempt."""

    __slots__ = ()

    @property
    def exception_class(self) -> type[BaseException]:
        """The class of the exception, if this process has loaded it; else ``ImportError``.

        Django would import what the stored name says. A name from the server must not decide that.
        """
        module, _, name = self.exception_class_path.rpartition(".")
        attributes: list[str] = []
        while module:
            attributes.insert(0, name)
            found: Any = sys.modules.get(module)
            if found is not None:
                for attribute in attributes:
                    found = getattr(found, attribute, None)
                if isinstance(found, type) and issubclass(found, BaseException):
                    return found
                if found is not None:
                    raise ValueError(f"{self.exception_class_path!r} does not reference a valid exception.")
                break
            module, _, name = module.rpartition(".")
        raise ImportError(f"{self.exception_class_path!r} is no exception this process has loaded.")


def new_result(
    task: AnyTask,
    task_id: str,
    args: list[Any],
    kwargs: dict[str, Any],
    backend: str,
    *,
    status: TaskResultStatus = TaskResultStatus.READY,
    enqueued_at: datetime | None = None,
    started_at: datetime | None = None,
    last_attempted_at: datetime | None = None,
    finished_at: datetime | None = None,
    errors: Sequence[TaskError] = (),
    worker_ids: Sequence[str] = (),
) -> FairqueTaskResult:
    """A result with arguments that are JSON already."""
    return FairqueTaskResult(
        task=task,
        id=task_id,
        status=status,
        enqueued_at=enqueued_at,
        started_at=started_at,
        finished_at=finished_at,
        last_attempted_at=last_attempted_at,
        args=args,
        kwargs=kwargs,
        backend=backend,
        errors=list(errors),
        worker_ids=list(worker_ids),
    )


def result_of(record: TaskRecord, backend: str) -> FairqueTaskResult:
    """The result that ``record`` describes. ``TaskResultMismatch`` when nobody here knows its function."""
    known = registry.find(record.name)
    if known is None:
        raise TaskResultMismatch(
            f"Task {record.id} calls {record.name!r}, and this process has loaded no such task."
        )
    try:
        args, kwargs, _ = unpack_call(record.payload)
    except ValueError:
        args, kwargs = [], {}  # the worker buries it and says why
    errors = [error_of(raw) for raw in record.errors]
    if STATUS[record.state] is TaskResultStatus.FAILED:
        ended_by = _ended_by(record)
        if ended_by or not errors:
            errors.append(
                FairqueTaskError(
                    exception_class_path=dotted(ended_by) if ended_by else "",
                    traceback=record.reason or record.state.value,
                )
            )
    result = new_result(
        called(known, record, backend),
        record.id,
        args,
        kwargs,
        backend,
        status=STATUS[record.state],
        enqueued_at=at(record.enqueued_ms),
        started_at=at(record.first_started_ms),
        last_attempted_at=at(record.started_ms),
        finished_at=at(record.finished_ms) if record.state.is_terminal else None,
        errors=errors,
        worker_ids=record.workers,
    )
    if record.state is State.FINISHED and record.result is not None:
        object.__setattr__(result, "_return_value", loads(record.result))
    return result


def _ended_by(record: TaskRecord) -> type[FairqueError] | None:
    """What ended a task without an exception of its own."""
    if record.state is State.CANCELED:
        return Canceled
    return next((kind for start, kind in _ENDINGS.items() if record.reason.startswith(start)), None)


def called(known: AnyTask, record: TaskRecord, backend: str) -> AnyTask:
    """The registered task with the choices of this call."""
    if not isinstance(known, FairqueTask):
        return known
    chosen = {
        "user_id": record.user_id,
        "queue_name": record.queue,
        "priority": record.priority,
        "run_after": at(record.run_at_ms),
        "backend": backend,
    }
    return copy_of(known, chosen)


def error_of(raw: bytes) -> FairqueTaskError:
    """A stored error, whatever wrote it."""
    try:
        stored = loads(raw)
        return FairqueTaskError(exception_class_path=str(stored["class"]), traceback=str(stored["traceback"]))
    except (ValueError, TypeError, KeyError):
        return FairqueTaskError(exception_class_path="", traceback=raw.decode(errors="replace"))


def at(moment_ms: float | None) -> datetime | None:
    """A time of the server as Django's settings want times: aware, unless ``USE_TZ`` is off."""
    if moment_ms is None:
        return None
    moment = datetime.fromtimestamp(moment_ms / 1_000, UTC)
    return moment if django_settings.USE_TZ else timezone.make_naive(moment)
