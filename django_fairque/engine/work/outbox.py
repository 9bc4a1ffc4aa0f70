"""Finished attempts on their way from the threads that ran them to the pump."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

# How long outcomes may wait for company. Quick tasks fill a round trip well before that.
PATIENCE_S = 0.005

if TYPE_CHECKING:
    from ..task import Claimed, Outcome
    from .desk import Desk

    class Source(Protocol):
        """Whatever ran a task, and counts how many it has in hand."""

        open: int

    Ended = tuple[Desk, Claimed, Outcome, Source]


class Outbox:
    """Many threads put, one pump takes. A sleeping pump is woken once, when it pays.

    The pump sleeps in ``wait``, which is cheap, or elsewhere on ``fd``, between ``arm`` and
    ``disarm``. Whoever puts looks for a sleeper *after* it stored the outcome, and the pump looks for
    outcomes *after* it said that it sleeps, so no wake-up is lost.
    """

    def __init__(self) -> None:
        self._ended: deque[Ended] = deque()
        self._tokens: SimpleQueue[None] = SimpleQueue()
        self._alarm: Callable[[], None] | None = None
        self._hurried = False
        self._mark = 1
        self.fd, self._write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_fd, False)

    def put(self, ended: Ended, *, hurry: bool = True) -> None:
        """Hand in an outcome. Without ``hurry`` the pump may sleep until ``mark`` of them are there."""
        self._ended.append(ended)
        if hurry:
            self._hurried = True
        if self._alarm is not None and (hurry or len(self._ended) >= self._mark):
            self._wake()

    def nudge(self) -> None:
        """Nothing is left to begin: outcomes that wait for company should not wait any longer."""
        if self._ended:
            self._hurried = True
            self._wake()

    def wake(self) -> None:
        """End the pump's sleep, whatever it waits for. Callable from threads and signal handlers."""
        self._wake()

    def take(self) -> list[Ended]:
        """All outcomes there are, without waiting."""
        self._hurried = False
        ended = self._ended
        return [ended.popleft() for _ in range(len(ended))]

    def wait(self, mark: int, is_needed: Callable[[], bool]) -> None:
        """Sleep until about ``mark`` outcomes are there, a hurried one came, or ``wake``.

        ``is_needed`` is asked once more after that, so that a ``wake`` a moment before counts.
        """
        if self._settle_down(self._token, mark, is_needed):
            try:
                self._tokens.get(timeout=PATIENCE_S)
            except Empty:
                # These tasks are not quick: the next outcome is reason enough.
                if self._settle_down(self._token, 1, is_needed):
                    self._tokens.get()
        self._alarm = None
        with suppress(Empty):
            while True:  # what is left of earlier wake-ups must not cut later sleeps short
                self._tokens.get_nowait()

    def arm(self, mark: int, is_needed: Callable[[], bool]) -> bool:
        """From now on what ends ``wait`` makes ``fd`` readable. ``False``: it happened already."""
        return self._settle_down(self._ring, mark, is_needed)

    def disarm(self) -> None:
        """The pump is awake again."""
        self._alarm = None
        with suppress(BlockingIOError):
            while os.read(self.fd, 512):
                pass

    def close(self) -> None:
        """Let go of the file descriptors."""
        os.close(self.fd)
        os.close(self._write_fd)

    def _settle_down(self, alarm: Callable[[], None], mark: int, is_needed: Callable[[], bool]) -> bool:
        self._mark = mark
        self._alarm = alarm
        if self._hurried or len(self._ended) >= mark or is_needed():
            self._alarm = None
            return False
        return True

    def _wake(self) -> None:
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm()

    def _token(self) -> None:
        self._tokens.put(None)

    def _ring(self) -> None:
        with suppress(BlockingIOError):  # full of wake-ups already
            os.write(self._write_fd, b"!")
