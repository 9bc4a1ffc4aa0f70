"""Between two tasks: nothing that one left behind in its thread may reach the next."""

from __future__ import annotations

import contextvars
import logging
import threading
from contextlib import suppress
from typing import Any

from django.core.cache import caches
from django.core.signals import setting_changed
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .compat import task_backends

logger = logging.getLogger("django_fairque")

_local = threading.local()


def fresh_context() -> contextvars.Context:
    """A context for one task in this thread: no language, no time zone, no variable of another task.

    Caches and task backends live in context variables too. They are made once for each thread, or every
    task would open its own connection to the cache.
    """
    try:
        base: contextvars.Context = _local.context
    except AttributeError:
        base = _local.context = contextvars.Context()
        base.run(_furnish)
    return base.copy()


def _furnish() -> None:
    for handler in (task_backends, caches):
        for alias in handler:
            # One that cannot be made says so to the task that wants it.
            with suppress(Exception):
                handler[alias]


def before() -> list[BaseDatabaseWrapper]:
    """Close connections that are old or broken. Returns those that are in a transaction by now: a test's."""
    inside = []
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            inside.append(connection)
        else:
            _check(connection)
    return inside


def roll_back(inside: list[BaseDatabaseWrapper]) -> None:
    """Roll back the transactions that the task began and did not end."""
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block and connection not in inside:
            logger.warning(
                "A task left a transaction open on database %r; it is rolled back", connection.alias
            )
            left_open = RuntimeError("The task ended inside atomic().")
            try:
                for block in reversed(list(connection.atomic_blocks)):
                    block.__exit__(RuntimeError, left_open, None)
            except Exception:
                _forget(connection)


def after(inside: list[BaseDatabaseWrapper]) -> None:
    """Close what should not stay open until the next task, and forget the queries that were logged."""
    for connection in connections.all(initialized_only=True):
        if connection not in inside:
            _check(connection)


def close_thread() -> None:
    """Close all connections of this thread."""
    for connection in connections.all(initialized_only=True):
        try:
            connection.close()
        except Exception:
            _forget(connection)


def _changed(*, setting: str, **_: Any) -> None:
    if setting in ("TASKS", "CACHES"):
        _local.__dict__.clear()


setting_changed.connect(_changed, dispatch_uid="django_fairque.hygiene")


def _check(connection: BaseDatabaseWrapper) -> None:
    if connection.queries_log:
        connection.queries_log.clear()
    if connection.connection is not None:
        try:
            connection.close_if_unusable_or_obsolete()
        except Exception:
            _forget(connection)


def _forget(connection: BaseDatabaseWrapper) -> None:
    # It can neither be used nor closed. The next task gets a new one.
    logger.warning("The connection to database %r is broken and was dropped", connection.alias, exc_info=True)
    with suppress(Exception):
        connection.close()
    with suppress(AttributeError):
        del connections[connection.alias]
