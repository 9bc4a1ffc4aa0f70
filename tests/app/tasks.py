"""Tasks that do what the tests want to see."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache import caches
from django.db import connection, transaction
from django.utils import timezone, translation

from django_fairque import Priority, Retry, task

from .models import Note

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="untouched")
seen: list[Any] = []


class Unprintable(Exception):
    """An error that fails again when it is shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@task
def add(a: int, b: int = 0) -> int:
    return a + b


@task
async def aadd(a: int, b: int = 0) -> int:
    return a + b


@task
def echo(*args: Any, **kwargs: Any) -> list[Any]:
    return [list(args), kwargs]


@task(takes_context=True)
def attempt_of(context: Any, label: str) -> list[Any]:
    return [context.attempt, context.task_result.id, context.task_result.task.user_id, label]


@task(user_id="acme", priority=Priority.HIGH, retry=Retry.fixed(5, max_attempts=3))
def for_acme() -> None:
    raise ValueError("not yet")


@task
def fail(message: str) -> None:
    raise ValueError(message)


@task
async def afail(message: str) -> None:
    raise ValueError(message)


@task
def unprintable() -> None:
    raise Unprintable


@task
def surrogate() -> None:
    raise ValueError("\ud800")


@task
def leave() -> None:
    raise SystemExit(3)


@task
async def aleave() -> None:
    raise SystemExit(3)


@task
def return_object() -> object:
    return object()


@task
def return_long(size: int) -> str:
    return "x" * size


@task
def write(text: str) -> int:
    return Note.objects.create(text=text).pk


@task
async def awrite(text: str) -> int:
    return (await Note.objects.acreate(text=text)).pk


@task
def leave_transaction_open(text: str) -> None:
    transaction.atomic().__enter__()
    Note.objects.create(text=text)


@task
def leave_marks() -> None:
    translation.activate("de")
    timezone.activate("Asia/Tokyo")
    variable.set("touched")


@task
async def aleave_marks() -> None:
    translation.activate("de")
    timezone.activate("Asia/Tokyo")
    variable.set("touched")


@task
def read_marks() -> list[str | None]:
    return [translation.get_language(), str(timezone.get_current_timezone()), variable.get()]


@task
async def aread_marks() -> list[str | None]:
    return [translation.get_language(), str(timezone.get_current_timezone()), variable.get()]


@task
def enqueue_another() -> str:
    return add.enqueue(1, 2).id


@task
def connection_id() -> int:
    connection.ensure_connection()
    return id(connection.connection)


@task
async def call_blocking() -> bool:
    def inside() -> bool:
        connection.ensure_connection()
        seen.append(connection.connection)
        return connection.is_usable()

    return await sync_to_async(inside)()


@task
async def acache_id() -> int:
    return id(caches["default"])


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """For tests of names: nothing but the function."""
    return function
