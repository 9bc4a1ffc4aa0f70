"""The task backend: from Django's call to the queue's command, and back to a result."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.utils import timezone

from . import registry, shipping, site
from .commit import after_commit, open_transactions
from .compat import (
    TASK_MAX_PRIORITY,
    TASK_MIN_PRIORITY,
    AnyTask,
    BaseTaskBackend,
    InvalidTask,
    TaskResultDoesNotExist,
    task_enqueued,
)
from .engine import enqueue as step
from .engine import result as reading
from .engine.errors import Conflict, Invalid, QueueFull
from .engine.keys import MAX_TASK_ID_BYTES, encode, encode_queue
from .engine.retry import Retry
from .engine.task import NewTask, Policy, Priority, TaskRecord
from .engine.wire.command import Command
from .fairque_task import FairqueTask
from .listeners import nobody_listens, only_django_listens
from .payload import pack_call
from .results import FairqueTaskResult, new_result, result_of

PARTITION_MARK_BYTES = len("~1023")

Call = tuple[AnyTask, Sequence[Any], Mapping[str, Any]]


class FairqueBackend(BaseTaskBackend):
    """Enqueues tasks so that every user gets its turn. ``TASKS`` names it as ``BACKEND``."""

    task_class = FairqueTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def validate_task(self, task: AnyTask) -> None:
        """Raise ``InvalidTask`` when the task cannot be enqueued, naming what is wrong."""
        if not isinstance(task.priority, int | float):
            raise InvalidTask(
                f"priority must be a whole number between {TASK_MIN_PRIORITY} and {TASK_MAX_PRIORITY}."
            )
        super().validate_task(task)
        try:
            encode_queue(task.queue_name)
            if isinstance(task, FairqueTask):
                if task.user_id is not None:
                    encode(task.user_id)
                if task.task_id is not None:
                    _check_task_id(task.task_id)
                if task.retry is not None and not isinstance(task.retry, Retry):
                    raise Invalid("retry", "must be made by Retry.fixed(...) or Retry.exponential(...).")
        except Invalid as error:
            raise InvalidTask(str(error)) from error

    def enqueue(self, task: AnyTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> FairqueTaskResult:
        """Enqueue one call: at once, or when the transactions around it have committed."""
        target = self._target(task)
        packed = self._pack(target, task, args, kwargs, step.new_ids(1)[0])
        if target.waits and (aliases := open_transactions()):
            after_commit(aliases, [packed], self._send_waiting)
        else:
            self._send(packed)
        return packed[2]

    async def aenqueue(
        self, task: AnyTask, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> FairqueTaskResult:
        """Enqueue one call at once, since async code cannot wait for a commit.

        Raises ``InvalidTask`` for a task that asks for it by ``enqueue_on_commit=True``; the setting
        ``ENQUEUE_ON_COMMIT`` means blocking code only.
        """
        _refuse_to_wait(task)
        target = self._target(task)
        packed = self._pack(target, task, args, kwargs, step.new_ids(1)[0])
        await target.site.async_executor.run(shipping.command([packed]))
        await self._atell([packed[2]])
        return packed[2]

    def enqueue_many(self, calls: Iterable[Call]) -> list[FairqueTaskResult]:
        """Enqueue calls of any tasks, ``(task, args, kwargs)`` each. See ``FairqueTask.enqueue_many``."""
        packed, now, waiting = self._pack_many(calls)
        if not waiting:
            self._send_many(packed)
        elif not now:
            after_commit(open_transactions(), packed, self._send_waiting)
        else:
            after_commit(open_transactions(), waiting, self._send_waiting)
            self._send_many(now)
        return [result for _, _, result in packed]

    async def aenqueue_many(self, calls: Iterable[Call]) -> list[FairqueTaskResult]:
        """See ``enqueue_many``, and ``aenqueue`` for what differs."""
        calls = list(calls)
        for task, _, _ in calls:
            _refuse_to_wait(task)
        packed, _, _ = self._pack_many(calls, look=False)
        stored: set[str] = set()
        here = site.current()
        for chunk in shipping.chunks(packed):
            parts = shipping.by_partition(chunk)
            replies = await here.async_executor.run_many(
                [shipping.command(part) for part in parts], return_errors=True
            )
            done, failure = shipping.done(parts, replies)
            stored.update(result.id for result in done)
            await self._atell(done)
            if failure is not None:
                raise shipping.ended(packed, stored, failure) from failure
        return [result for _, _, result in packed]

    def get_result(self, result_id: str) -> FairqueTaskResult:
        """The result of a task, or ``TaskResultDoesNotExist``: unknown, expired, or not committed yet."""
        here = site.current()
        return self._result(result_id, here.executor.run(_reading(here, result_id)))

    async def aget_result(self, result_id: str) -> FairqueTaskResult:
        """See ``get_result``."""
        here = site.current()
        return self._result(result_id, await here.async_executor.run(_reading(here, result_id)))

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Errors in this backend's entry of ``TASKS``."""
        found: list[CheckMessage] = list(super().check(**kwargs))
        if not apps.is_installed("django_fairque"):
            found.append(
                Error(
                    f"TASKS[{self.alias!r}] uses FairqueBackend, but django_fairque is not installed.",
                    hint="Add 'django_fairque' to INSTALLED_APPS.",
                    id="fairque.E011",
                )
            )
        for queue in self.queues:
            try:
                encode_queue(queue)
            except Invalid as error:
                found.append(
                    Error(
                        f"TASKS[{self.alias!r}]['QUEUES']: {error}",
                        hint="Name queues with strings of 1 to 128 bytes.",
                        id="fairque.E010",
                    )
                )
        return found

    def _target(self, task: AnyTask) -> shipping.Target:
        here = site.current()
        if isinstance(task, FairqueTask):
            kept = task.__dict__.get("_target")
            if kept is not None and kept[0] is self and kept[1].site is here:
                return kept[1]  # type: ignore[no-any-return]
        settings = here.settings
        mine: dict[str, Any] = {}
        if isinstance(task, FairqueTask):
            mine = task.__dict__
            # ``using`` has had it validated by this very backend a moment ago.
            if mine.pop("_validated", None) is not self:
                self.validate_task(task)
        else:
            self.validate_task(task)
            registry.register(task)
        user_id = mine.get("user_id")
        if user_id is None:
            user_id = settings.default_user
        retry, waits, given = mine.get("retry"), mine.get("enqueue_on_commit"), mine.get("task_id")
        options = {"retry": retry.packed()} if retry is not None and _differs(task, retry) else None
        priority = task.priority if isinstance(task.priority, Priority) else int(task.priority)
        target = shipping.Target(
            site=here,
            keys=here.keys[here.space.partition_of(user_id)],
            name=task.module_path,
            user_id=user_id,
            group=here.users.group_of(user_id),
            queue=task.queue_name,
            priority=priority,
            run_at_ms=None if task.run_after is None else round(task.run_after.timestamp() * 1_000),
            options=options,
            limit=settings.max_payload,
            given=None if given is None else here.space.task_id(given, user_id),
            waits=settings.enqueue_on_commit if waits is None else waits,
        )
        if mine and task.run_after is None:
            # Kept until backend or settings change. With run_after it depends on USE_TZ as well.
            mine["_target"] = (self, target)
        return target

    def _pack(
        self,
        target: shipping.Target,
        task: AnyTask,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        drawn: str,
    ) -> shipping.Packed:
        payload, seen_args, seen_kwargs = pack_call(target.name, args, kwargs, target.options, target.limit)
        here = target.site
        task_id = target.given
        if task_id is None:
            task_id = drawn if here.space.partitions == 1 else here.space.task_id(drawn, target.user_id)
        policy: Policy = here.users.policy_of(target.user_id)
        new = NewTask(
            task_id,
            target.name,
            target.user_id,
            payload,
            target.queue,
            target.priority,
            target.run_at_ms,
            policy,
            target.group,
        )
        return target, new, new_result(task, task_id, seen_args, seen_kwargs, self.alias)

    def _pack_many(
        self, calls: Iterable[Call], *, look: bool = True
    ) -> tuple[list[shipping.Packed], list[shipping.Packed], list[shipping.Packed]]:
        """All calls; those to send now; those to send after the commit."""
        calls = list(calls)
        if not calls:
            return [], [], []
        inside = bool(look and open_transactions())
        packed: list[shipping.Packed] = []
        now: list[shipping.Packed] = []
        waiting: list[shipping.Packed] = []
        for (task, args, kwargs), drawn in zip(calls, step.new_ids(len(calls)), strict=True):
            target = self._target(task)
            one = self._pack(target, task, args, kwargs, drawn)
            packed.append(one)
            if inside:
                (waiting if target.waits else now).append(one)
        return packed, now, waiting

    def _send(self, packed: shipping.Packed) -> None:
        packed[0].site.executor.run(shipping.command([packed]))
        self._tell([packed[2]])

    def _send_many(self, packed: list[shipping.Packed]) -> None:
        here = site.current()
        stored: set[str] = set()
        for chunk in shipping.chunks(packed):
            parts = shipping.by_partition(chunk)
            replies = here.executor.run_many([shipping.command(part) for part in parts], return_errors=True)
            done, failure = shipping.done(parts, replies)
            stored.update(result.id for result in done)
            self._tell(done)
            if failure is not None:
                raise shipping.ended(packed, stored, failure) from failure

    def _send_waiting(self, waiting: list[list[shipping.Packed]]) -> list[Exception]:
        """Send what several calls enqueued before a commit, each in any case. What went wrong."""
        errors: list[Exception] = []
        for single, group in groupby(waiting, lambda packed: len(packed) == 1):
            if single:
                for chunk in shipping.shipments([packed for (packed,) in group]):
                    try:
                        errors += self._send_singles(chunk)
                    except Exception as error:
                        errors.append(error)
                continue
            for packed in group:
                try:
                    self._send_many(packed)
                except Exception as error:
                    errors.append(error)
        return errors

    def _send_singles(self, chunk: list[shipping.Packed]) -> list[Exception]:
        """Send calls that have nothing to do with each other: together, or if that fails one by one."""
        executor = chunk[0][0].site.executor
        parts = shipping.by_partition(chunk)
        replies = executor.run_many([shipping.command(part) for part in parts], return_errors=True)
        tried = list(zip(parts, replies, strict=True))
        # These two say for certain that nothing of the part was written.
        refused = [part for part, reply in tried if len(part) > 1 and isinstance(reply, Conflict | QueueFull)]
        if refused:
            tried = [(part, reply) for part, reply in tried if not any(part is one for one in refused)]
            parts = [[one] for part in refused for one in part]
            replies = executor.run_many([shipping.command(part) for part in parts], return_errors=True)
            tried += zip(parts, replies, strict=True)
        errors = [reply for _, reply in tried if isinstance(reply, Exception)]
        self._tell(shipping.done([part for part, _ in tried], [reply for _, reply in tried])[0])
        return errors

    def _tell(self, results: Iterable[FairqueTaskResult]) -> None:
        now, sender = timezone.now(), type(self)
        heard = not nobody_listens(task_enqueued)
        for result in results:
            object.__setattr__(result, "enqueued_at", now)
            if heard:
                # A receiver that raises cannot undo the enqueue; Django logs what it raised.
                task_enqueued.send_robust(sender, task_result=result)

    async def _atell(self, results: Sequence[FairqueTaskResult]) -> None:
        if only_django_listens(task_enqueued):
            self._tell(results)
            return
        now, sender = timezone.now(), type(self)
        for result in results:
            object.__setattr__(result, "enqueued_at", now)
            await task_enqueued.asend_robust(sender, task_result=result)

    def _result(self, result_id: str, record: TaskRecord | None) -> FairqueTaskResult:
        if record is None:
            raise _no_result(result_id)
        return result_of(record, self.alias)


def _refuse_to_wait(task: AnyTask) -> None:
    if isinstance(task, FairqueTask) and task.enqueue_on_commit:
        raise InvalidTask(
            "enqueue_on_commit=True needs enqueue(), called in the thread of the transaction (by "
            "sync_to_async): aenqueue() cannot wait for a commit. immediate=True says that it need not."
        )


def _differs(task: AnyTask, retry: Retry) -> bool:
    """Whether this call has a rule of its own, which then travels with it."""
    known = registry.find(task.module_path)
    return not isinstance(known, FairqueTask) or known.retry != retry


def _reading(here: site.Site, task_id: str) -> Command[TaskRecord | None]:
    try:
        _check_task_id(task_id, MAX_TASK_ID_BYTES + PARTITION_MARK_BYTES)
    except Invalid:
        raise _no_result(task_id) from None
    return reading.read(here.space.of_task(task_id), task_id)


def _no_result(task_id: Any) -> TaskResultDoesNotExist:
    return TaskResultDoesNotExist(
        f"There is no task with the id {reprlib.repr(task_id)}: it is unknown, the transaction that "
        "enqueues it has not committed yet, or it ended longer ago than RESULT_TTL."
    )


def _check_task_id(task_id: Any, limit: int = MAX_TASK_ID_BYTES) -> None:
    """Raise ``Invalid`` unless this could be an id."""
    encode(task_id, "task_id", limit)
