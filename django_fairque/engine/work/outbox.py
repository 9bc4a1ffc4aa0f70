"""Finished attempts on their way from the threads that ran them to the pump."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..task import Claimed, Outcome
    from .desk import Desk

    class Source(Protocol):
        """Whatever ran a task, and counts how many it has in hand."""

        open: int

    Ended = tuple[Desk, Claimed, Outcome, Source]


class Outbox:
    """Many threads put, one pump takes. A sleeping pump is woken once, when it pays.

    The pump sleeps in one of two ways: in ``wait`` (cheap, for outcomes only), or elsewhere on
    ``fd``, between ``arm`` and ``disarm``. Putting looks at the flag *after* it stored the outcome
    and the pump looks for outcomes *after* it set the flag, so no wake-up is lost.
    """

    def __init__(self) -> None:
        self._ended: deque[Ended] = deque()
        self._tokens: SimpleQueue[None] = SimpleQueue()
        self._waiting = False
        self._hurried = False
        self._mark = 1
        self._armed = False
        self.fd, self._write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_fd, False)

    def put(self, ended: Ended, *, hurry: bool = True) -> None:
        """Hand in an outcome. Without ``hurry`` the pump may sleep until ``mark`` of them are there."""
        self._ended.append(ended)
        if hurry:
            self._hurried = True
        if self._armed:
            self._armed = False
            self._ring()
        elif self._waiting and (hurry or len(self._ended) >= self._mark):
            self._waiting = False
            self._tokens.put(None)
            # A thread with quick tasks would keep the interpreter to itself until the last one;
            # the pump had better send what is there, so that the server works meanwhile.
            os.sched_yield()

    def nudge(self) -> None:
        """Nothing is left to begin: outcomes that wait for company should not wait any longer."""
        if self._ended:
            self._hurried = True
            if self._waiting:
                self._waiting = False
                self._tokens.put(None)

    def wake(self) -> None:
        """End the pump's sleep, whatever it waits for. Callable from threads and signal handlers."""
        self._waiting = False
        self._tokens.put(None)
        self._ring()

    def take(self) -> list[Ended]:
        """All outcomes there are, without waiting."""
        self._hurried = False
        ended = self._ended
        return [ended.popleft() for _ in range(len(ended))]

    def wait(self, mark: int, is_needed: Callable[[], bool]) -> None:
        """Sleep until about ``mark`` outcomes are there, a hurried one came, or ``wake``.

        ``is_needed`` is asked once more when the flag is up, so that a ``wake`` just before counts.
        """
        self._mark = mark
        self._waiting = True
        if not (self._hurried or len(self._ended) >= mark or is_needed()):
            self._tokens.get()
        self._waiting = False
        with suppress(Empty):
            while True:  # what is left of earlier wake-ups must not cut later sleeps short
                self._tokens.get_nowait()

    def arm(self, is_needed: Callable[[], bool]) -> bool:
        """From now on an outcome makes ``fd`` readable. ``False``: there is one already, do not sleep."""
        self._armed = True
        if self._ended or is_needed():
            self._armed = False
            return False
        return True

    def disarm(self) -> None:
        """The pump is awake again."""
        self._armed = False
        with suppress(BlockingIOError):
            while os.read(self.fd, 512):
                pass

    def close(self) -> None:
        """Let go of the file descriptors."""
        os.close(self.fd)
        os.close(self._write_fd)

    def _ring(self) -> None:
        with suppress(BlockingIOError):  # full of wake-ups already
            os.write(self._write_fd, b"!")
