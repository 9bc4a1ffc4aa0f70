"""``@task`` and what it makes: Django's ``Task``, with a user whose turn it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, cast, overload

from django.utils import timezone
from django.utils.module_loading import import_string

from . import registry
from .compat import (
    DEFAULT_TASK_BACKEND_ALIAS,
    DEFAULT_TASK_PRIORITY,
    DEFAULT_TASK_QUEUE_NAME,
    InvalidTask,
    Task,
    TaskContext,
    TaskResult,
)
from .engine.retry import Retry

P = ParamSpec("P")
R = TypeVar("R")

_set = object.__setattr__

KEPT_COPIES = 1_000

Arguments = Sequence[Any] | Mapping[str, Any]
"""The arguments of one call: a tuple (or list) of positional ones, or a dictionary of named ones."""

if TYPE_CHECKING:

    class _Base(Task[P, R]):
        """Django's Task, which knows its parameters only to type checkers."""

else:

    class _Base(Task, Generic[P, R]):
        __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class FairqueTask(_Base[P, R]):
    """A task and how its calls are enqueued. ``using(...)`` gives a copy with other choices.

    >>> render_invoice.using(user_id="acme", priority=Priority.HIGH).enqueue(7)
    """

    user_id: str | None = None
    """Whose turn its calls take; ``None`` for the setting ``DEFAULT_USER``."""
    retry: Retry | None = None
    """What follows a failed attempt; ``None`` for a single attempt."""
    enqueue_on_commit: bool | None = None
    """Whether to wait for the commit of an open transaction; ``None`` for ``ENQUEUE_ON_COMMIT``."""
    task_id: str | None = None
    """The id of the call, so that enqueueing it again changes nothing. Only by ``using(task_id=...)``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        registry.register(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # By the path of the task itself: pickle would look for its function there and find the task.
        chosen = {name: getattr(self, name) for name in self.__dataclass_fields__}
        del chosen["func"]
        return _unpickled, (self.module_path, chosen)

    def using(
        self,
        *,
        priority: int | None = None,
        queue_name: str | None = None,
        run_after: datetime | timedelta | None = None,
        backend: str | None = None,
        user_id: str | None = None,
        retry: Retry | None = None,
        enqueue_on_commit: bool | None = None,
        immediate: bool | None = None,
        task_id: str | None = None,
    ) -> FairqueTask[P, R]:
        """A copy with other choices. ``None`` leaves a choice as it is.

        ``immediate=True`` is short for ``enqueue_on_commit=False``: the call is enqueued even if the
        transaction around it is rolled back later.
        """
        if immediate is not None:
            enqueue_on_commit = not immediate
        if isinstance(run_after, timedelta):
            run_after = timezone.now() + run_after
        elif run_after is not None and not isinstance(run_after, datetime):
            raise InvalidTask(
                f"run_after must be an aware datetime or a timedelta, not {type(run_after).__name__}."
            )
        given = {
            "priority": priority,
            "queue_name": queue_name,
            "run_after": run_after,
            "backend": backend,
            "user_id": user_id,
            "retry": retry,
            "enqueue_on_commit": enqueue_on_commit,
            "task_id": task_id,
        }
        # Sites enqueue for the same users again and again, and a copy never changes: it is kept, with
        # all that was worked out for it. What is chosen for one call only is not worth keeping.
        kept: dict[Any, FairqueTask[P, R]] | None = None
        if run_after is None and task_id is None:
            kept = self.__dict__.setdefault("_copies", {})
            key = (user_id, queue_name, backend, retry, enqueue_on_commit, priority, type(priority))
            try:
                found = kept.get(key)
            except TypeError:  # something no task can have; validation says what
                kept = found = None
            if found is not None:
                return found
        changed = copy_of(self, {name: value for name, value in given.items() if value is not None})
        chosen = changed.get_backend()
        chosen.validate_task(changed)
        changed.__dict__["_validated"] = chosen
        if kept is not None:
            if len(kept) >= KEPT_COPIES:
                kept.clear()
            kept[key] = changed
        return changed

    def enqueue_many(
        self, calls: Iterable[Arguments], *, user_id: str | None = None
    ) -> list[TaskResult[P, R]]:
        """Enqueue many calls in one round trip per 1,000. Each call is a tuple or a dictionary of arguments.

        Nothing is written unless all calls are valid. Up to 1,000 calls are enqueued all or none, as far
        as their users share a partition (with one partition, and for the calls of one user, they do).
        Otherwise ``PartlyStored`` tells by ``results`` which calls are enqueued, should an error end it.
        """
        task = self if user_id is None else self.using(user_id=user_id)
        backend = task.get_backend()
        pairs = [(task, *arguments(call)) for call in calls]
        if hasattr(backend, "enqueue_many"):
            return cast("list[TaskResult[P, R]]", backend.enqueue_many(pairs))
        return [backend.enqueue(task, args, kwargs) for task, args, kwargs in pairs]

    async def aenqueue_many(
        self, calls: Iterable[Arguments], *, user_id: str | None = None
    ) -> list[TaskResult[P, R]]:
        """See ``enqueue_many``."""
        task = self if user_id is None else self.using(user_id=user_id)
        backend = task.get_backend()
        pairs = [(task, *arguments(call)) for call in calls]
        if hasattr(backend, "aenqueue_many"):
            return cast("list[TaskResult[P, R]]", await backend.aenqueue_many(pairs))
        return [await backend.aenqueue(task, args, kwargs) for task, args, kwargs in pairs]


def copy_of(task: FairqueTask[P, R], changes: Mapping[str, Any]) -> FairqueTask[P, R]:
    """A copy with changes that nobody has validated."""
    copy = object.__new__(type(task))
    for name in task.__dataclass_fields__:
        _set(copy, name, changes[name] if name in changes else getattr(task, name))
    return copy


def arguments(call: Arguments) -> tuple[list[Any], dict[str, Any]]:
    """Positional and named arguments of one call of ``enqueue_many``."""
    if isinstance(call, (tuple, list)):
        return list(call), {}
    if isinstance(call, Mapping):
        return [], dict(call)
    raise TypeError(
        f"Each call is a tuple of arguments or a dictionary of named ones, not {type(call).__name__}. "
        "One argument is written as (argument,)."
    )


def _unpickled(path: str, chosen: dict[str, Any]) -> FairqueTask[..., Any]:
    found = import_string(path)
    if not isinstance(found, FairqueTask):
        raise ValueError(f"Expected {path!r} to point to a task.")
    return copy_of(found, chosen)


@overload
def task(function: Callable[P, R], /) -> FairqueTask[P, R]: ...
@overload
def task(
    *,
    priority: int = ...,
    queue_name: str = ...,
    backend: str = ...,
    takes_context: Literal[False] = False,
    user_id: str | None = ...,
    retry: Retry | None = ...,
    enqueue_on_commit: bool | None = ...,
) -> Callable[[Callable[P, R]], FairqueTask[P, R]]: ...
@overload
def task(
    *,
    priority: int = ...,
    queue_name: str = ...,
    backend: str = ...,
    takes_context: Literal[True],
    user_id: str | None = ...,
    retry: Retry | None = ...,
    enqueue_on_commit: bool | None = ...,
) -> Callable[[Callable[Concatenate[TaskContext[Any, Any], P], R]], FairqueTask[P, R]]: ...


def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    priority: int = DEFAULT_TASK_PRIORITY,
    queue_name: str = DEFAULT_TASK_QUEUE_NAME,
    backend: str = DEFAULT_TASK_BACKEND_ALIAS,
    takes_context: bool = False,
    user_id: str | None = None,
    retry: Retry | None = None,
    enqueue_on_commit: bool | None = None,
) -> Any:
    """A task from a function of a module. Use it bare or with choices for all of the task's calls.

    >>> @task(priority=Priority.HIGH, retry=Retry.exponential(max_attempts=5))
    ... def render_invoice(invoice_id: int) -> dict: ...
    """

    def made(func: Callable[..., Any]) -> FairqueTask[..., Any]:
        return FairqueTask(
            func=func,
            priority=priority,
            queue_name=queue_name,
            backend=backend,
            run_after=None,
            takes_context=takes_context,
            user_id=user_id,
            retry=retry,
            enqueue_on_commit=enqueue_on_commit,
        )

    return made if function is None else made(function)
