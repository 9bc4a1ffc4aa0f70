"""Wait for the commit: an enqueued task is sent when the transactions around the call have committed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from django.db import connections, transaction
from django.db.utils import DEFAULT_DB_ALIAS


def open_transactions() -> list[str]:
    """The databases on which this thread is inside ``atomic()``.

    What Django's ``TestCase`` wraps around each test counts only when nothing else is open, and then
    for one database, so that ``captureOnCommitCallbacks()`` sees each call once.
    """
    opened: list[str] = []
    by_test: list[str] = []
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            own = any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)
            (opened if own else by_test).append(connection.alias)
    if opened or not by_test:
        return opened
    return [DEFAULT_DB_ALIAS if DEFAULT_DB_ALIAS in by_test else by_test[0]]


def after_commit(aliases: list[str], send: Callable[[], None]) -> None:
    """Call ``send`` when all these transactions have committed; never, if one is rolled back.

    What ``send`` raises reaches the code that commits: the data is stored then, the task is not.
    """
    waiting = set(aliases)

    def committed(alias: str) -> None:
        waiting.discard(alias)
        if not waiting:
            send()

    for alias in aliases:
        transaction.on_commit(partial(committed, alias), using=alias)
