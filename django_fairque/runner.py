"""Run claimed tasks the way Django wants it: signals, context, JSON results, clean connections."""

from __future__ import annotations

import logging
import time
import traceback
from asyncio import get_running_loop
from collections.abc import Callable
from contextvars import Context
from datetime import UTC, datetime
from inspect import iscoroutinefunction
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from . import hygiene, registry, site
from .backend import FairqueBackend
from .compat import AnyTask, TaskContext, TaskResultStatus, task_finished, task_started
from .engine.errors import FairqueError
from .engine.retry import ONCE, Retry, dotted
from .engine.task import Bury, Claimed, Finish, Outcome
from .engine.task import Retry as RetryLater
from .engine.work.attempt import describe
from .fairque_task import FairqueTask, copy_of
from .listeners import atell, tell
from .payload import pack_result, unpack_call
from .results import FairqueTaskError, FairqueTaskResult, at, new_result

logger = logging.getLogger("django_fairque")

MAX_TRACEBACK = 16_000
KEPT_CALLS = 1_000

_encode = msgspec.json.Encoder().encode


class _Function:
    """A registered task, as it is needed for every run of it."""

    __slots__ = ("alias", "calls", "func", "is_async", "name", "retry", "sender", "takes_context", "task")

    def __init__(self, task: AnyTask) -> None:
        self.task = task
        self.name = task.module_path
        self.func: Callable[..., Any] = task.func
        self.is_async = iscoroutinefunction(task.func)
        self.takes_context = task.takes_context
        self.retry = (task.retry or ONCE) if isinstance(task, FairqueTask) else ONCE
        backend = type(task.get_backend())
        self.sender: type = backend if issubclass(backend, FairqueBackend) else FairqueBackend
        self.alias = task.backend
        self.calls: dict[tuple[str, str, int, type], AnyTask] = {}

    def called(self, claimed: Claimed) -> AnyTask:
        """The task with the choices of this call."""
        if not isinstance(self.task, FairqueTask):
            return self.task
        # The type tells Priority.CRITICAL from a plain 6.
        key = (claimed.user_id, claimed.queue, claimed.priority, type(claimed.priority))
        found = self.calls.get(key) if claimed.run_at_ms is None else None
        if found is None:
            chosen = {
                "user_id": claimed.user_id,
                "queue_name": claimed.queue,
                "priority": claimed.priority,
                "run_after": at(claimed.run_at_ms),
            }
            found = copy_of(self.task, chosen)
            if claimed.run_at_ms is None:
                if len(self.calls) >= KEPT_CALLS:
                    self.calls.clear()
                self.calls[key] = found
        return found


class _Attempt:
    """One run of one task: what is known before, and what becomes of it after."""

    __slots__ = ("began", "claimed", "function", "options", "result")

    def __init__(self, function: _Function, claimed: Claimed) -> None:
        """Raises ``ValueError`` when the payload is no call."""
        args, kwargs, self.options = unpack_call(claimed.payload)
        self.function, self.claimed = function, claimed
        now = timezone.now()
        self.result: FairqueTaskResult = new_result(
            function.called(claimed),
            claimed.id,
            args,
            kwargs,
            function.alias,
            status=TaskResultStatus.RUNNING,
            enqueued_at=at(claimed.enqueued_ms),
            started_at=now,
            last_attempted_at=now,
            worker_ids=claimed.workers,
        )
        self.began = time.perf_counter()

    def call(self) -> Any:
        """What the function returns: a coroutine, if it is async."""
        function, result = self.function, self.result
        if function.takes_context:
            return function.func(TaskContext(task_result=result), *result.args, **result.kwargs)
        return function.func(*result.args, **result.kwargs)

    def succeeded(self, value: Any) -> Finish:
        """The outcome of an attempt that returned ``value``. Raises when that cannot be stored."""
        run_ms = (time.perf_counter() - self.began) * 1_000
        packed, seen = pack_result(self.function.name, value, site.current().settings.max_result)
        _set(self.result, "_return_value", seen)
        self._ended(TaskResultStatus.SUCCESSFUL)
        return Finish(packed, run_ms)

    def failed(self, error: BaseException) -> RetryLater | Bury:
        """The outcome of an attempt that ended in ``error``."""
        run_ms = (time.perf_counter() - self.began) * 1_000
        record, seen = _record(error, self.claimed)
        self.result.errors.append(seen)
        delay_ms = self._rule().after(self.claimed.attempt, error)
        if delay_ms is None:
            self._ended(TaskResultStatus.FAILED)
            return Bury(describe(error), record, run_ms)
        _set(self.result, "status", TaskResultStatus.READY)
        return RetryLater(delay_ms, record, run_ms)

    def _rule(self) -> Retry:
        if "retry" in self.options:
            try:
                return Retry.unpacked(self.options["retry"])
            except (FairqueError, TypeError, AttributeError):
                pass  # written by another version; the task's own rule is the best guess
        return self.function.retry

    def _ended(self, status: TaskResultStatus) -> None:
        _set(self.result, "status", status)
        _set(self.result, "finished_at", timezone.now())


class DjangoRunner:
    """Runs the tasks that the apps of this project registered."""

    def __init__(self) -> None:
        self._functions: dict[str, _Function] = {}
        self._loops: WeakKeyDictionary[Any, Context] = WeakKeyDictionary()

    def knows(self, name: str) -> bool:
        """Whether a loaded module has a task of this name."""
        return name in self._functions or registry.find(name) is not None

    def is_async(self, name: str) -> bool:
        """Whether the task's function is a coroutine function."""
        return self._function(name).is_async

    def run(self, claimed: Claimed) -> Outcome:
        """Run a task in this thread, in a context of its own."""
        return hygiene.fresh_context().run(self._run, claimed)

    async def arun(self, claimed: Claimed) -> Outcome:
        """Run an async task. Blocking code it calls by ``sync_to_async`` has a thread of its own."""
        self._enter_loop()
        async with ThreadSensitiveContext() as scope:
            try:
                return await self._arun(claimed)
            finally:
                await _close_async(scope)

    def close_thread(self) -> None:
        """Close this thread's connections."""
        hygiene.close_thread()

    def _function(self, name: str) -> _Function:
        found = self._functions.get(name)
        if found is None:
            task = registry.find(name)
            if task is None:
                raise LookupError(f"no task is named {name!r}")
            found = self._functions[name] = _Function(task)
        return found

    def _run(self, claimed: Claimed) -> Outcome:
        function = self._function(claimed.name)
        inside = hygiene.before()
        try:
            attempt = _Attempt(function, claimed)
        except ValueError as error:
            return _unreadable(error, claimed)
        outcome: Outcome
        try:
            tell(task_started, function.sender, attempt.result)
            try:
                outcome = attempt.succeeded(attempt.call())
            except BaseException as error:  # SystemExit too: it ends the attempt, not the worker
                outcome = attempt.failed(error)
                _roll_back(inside)
                if isinstance(outcome, Bury):
                    tell(task_finished, function.sender, attempt.result)
            else:
                _roll_back(inside)
                tell(task_finished, function.sender, attempt.result)
        finally:
            hygiene.after(inside)
        return outcome

    async def _arun(self, claimed: Claimed) -> Outcome:
        function = self._function(claimed.name)
        try:
            attempt = _Attempt(function, claimed)
        except ValueError as error:
            return _unreadable(error, claimed)
        outcome: Outcome
        await atell(task_started, function.sender, attempt.result)
        try:
            outcome = attempt.succeeded(await attempt.call())
        except GeneratorExit:
            raise
        except BaseException as error:
            outcome = attempt.failed(error)
            if isinstance(outcome, Bury):
                await atell(task_finished, function.sender, attempt.result)
        else:
            await atell(task_finished, function.sender, attempt.result)
        return outcome

    def _enter_loop(self) -> None:
        # Each asyncio task has a copy of a context already. What it lacks are the caches and backends
        # that live in context variables: see hygiene.fresh_context.
        loop = get_running_loop()
        base = self._loops.get(loop)
        if base is None:
            base = self._loops[loop] = hygiene.fresh_context()
        for variable, value in base.items():
            variable.set(value)


def _roll_back(inside: list[BaseDatabaseWrapper]) -> None:
    try:
        hygiene.roll_back(inside)
    except Exception:
        logger.exception("Rolling back after a task failed")


async def _close_async(scope: ThreadSensitiveContext) -> None:
    # Only a task that used its thread (by the ORM, say) has something to close there.
    if scope in SyncToAsync.context_to_thread_executor:
        await sync_to_async(hygiene.close_thread)()
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None:
            hygiene.close_thread()
            break


def _unreadable(error: ValueError, claimed: Claimed) -> Bury:
    record, _ = _record(error, claimed)
    return Bury(describe(error), record)


def _record(error: BaseException, claimed: Claimed) -> tuple[bytes, FairqueTaskError]:
    """An error as it is stored, and as Django shows it. Works for errors that cannot be printed."""
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException:
        text = f"{dotted(type(error))} (it has no text)\n"
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) > MAX_TRACEBACK:
        text = "[... its beginning is left out]\n" + text[-MAX_TRACEBACK:]
    seen = FairqueTaskError(exception_class_path=dotted(type(error)), traceback=text)
    stored = {
        "class": seen.exception_class_path,
        "traceback": text,
        "attempt": claimed.attempt,
        "at": round(datetime.now(UTC).timestamp() * 1_000),
        "worker": claimed.workers[-1] if claimed.workers else "",
    }
    return _encode(stored), seen


def _set(result: FairqueTaskResult, field: str, value: Any) -> None:
    object.__setattr__(result, field, value)
