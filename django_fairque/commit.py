"""Wait for the commit: an enqueued task is sent when the transactions around the call have committed."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Any

from django.db import connections, transaction
from django.db.utils import DEFAULT_DB_ALIAS

logger = logging.getLogger("django_fairque")

Send = Callable[[list[Any]], list[Exception]]
"""Sends several calls, each in any case, and returns what went wrong."""


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


def after_commit(aliases: list[str], item: Any, send: Send) -> None:
    """Have ``send`` send ``item`` when all these transactions have committed; never, if one is rolled back.

    Items that wait side by side are sent together. What goes wrong with one keeps no other from being
    sent; the first error reaches the code that commits, after all were tried. The data is stored then.
    """
    waiting = _Waiting(aliases, item, send)
    for alias in aliases:
        hooks = connections[alias].run_on_commit
        before = next((hook[1] for hook in reversed(hooks) if isinstance(hook[1], _Callback)), None)
        here = set(connections[alias].savepoint_ids)
        if before is not None and hooks[-1][1] is before and hooks[-1][0] == here:
            # Side by side, in the same savepoints: whatever becomes of the one becomes of the other.
            before.waiting.take_along(waiting)
        turn = _Transaction() if before is None else before.transaction
        transaction.on_commit(_Callback(alias, waiting, turn), using=alias)


class _Waiting:
    """One item and those that are sent with it."""

    __slots__ = ("aliases", "batch", "item", "place", "send", "sent", "shares")

    def __init__(self, aliases: list[str], item: Any, send: Send) -> None:
        self.aliases, self.item, self.send = set(aliases), item, send
        self.shares = len(aliases) == 1
        self.sent, self.place, self.batch = False, 0, [self]

    def take_along(self, other: _Waiting) -> None:
        # With several databases each has savepoints of its own.
        if self.shares and other.shares and not self.sent and self.send == other.send:
            other.batch, other.place = self.batch, len(self.batch)
            self.batch.append(other)

    def committed(self, alias: str) -> list[Exception]:
        """Send, if this was the last transaction: this and those behind it. What went wrong."""
        self.aliases.discard(alias)
        if self.aliases or self.sent:
            return []
        together = [one for one in self.batch[self.place :] if not one.sent]
        for one in together:
            one.sent = True
        return self.send([one.item for one in together])


class _Transaction:
    """The callbacks of one transaction in their order, and the first error among them."""

    __slots__ = ("callbacks", "count", "error")

    def __init__(self) -> None:
        # Django forgets the callbacks of a savepoint that is rolled back, and tells nobody.
        self.callbacks: list[weakref.ref[_Callback]] = []
        self.count = 0
        self.error: Exception | None = None

    def follows(self, number: int) -> bool:
        """Whether a callback after this one is still to be called, and has something to do."""
        while self.callbacks:
            last = self.callbacks[-1]()
            if last is not None and not last.done and not last.waiting.sent:
                return last.number > number
            self.callbacks.pop()
        return False


class _Callback:
    """What Django calls after the commit of one database, for one item."""

    __slots__ = ("__weakref__", "alias", "done", "number", "transaction", "waiting")

    def __init__(self, alias: str, waiting: _Waiting, transaction: _Transaction) -> None:
        self.alias, self.waiting, self.transaction, self.done = alias, waiting, transaction, False
        transaction.count += 1
        self.number = transaction.count
        transaction.callbacks.append(weakref.ref(self))

    def __call__(self) -> None:
        self.done = True
        mine = self.transaction
        errors = self.waiting.committed(self.alias)
        follows = (errors or mine.error) and mine.follows(self.number)
        for error in errors:
            if mine.error is None:
                mine.error = error
            if follows or mine.error is not error:
                # The first is raised later: unless somebody else's callback ends it all before.
                logger.error("A task was not enqueued after the commit: %s", error, exc_info=error)
        if mine.error is not None and not follows:
            first, mine.error = mine.error, None
            try:
                raise first
            finally:
                del first, errors  # they refer to this frame by their traceback
