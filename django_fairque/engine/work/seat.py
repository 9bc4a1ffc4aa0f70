"""A place for one worker process, and how soon the next one may take it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from .child import DONE, OWING, WORN
from .link import Link

FIRST_DELAY_S, LAST_DELAY_S = 0.5, 30.0
# A process that got as far as serving was killed by a task or from outside. The next one will serve, too,
# and everybody waits for it; what kills it again and again is buried after MAX_DELIVERIES.
SERVED_DELAY_S = 1.0
HEALTHY_S = 60.0


class Seat:
    """Who sits here, under which incarnations, and what happened to those before."""

    def __init__(self, number: int, *, clock: Callable[[], float] = monotonic) -> None:
        self.number = number
        self._clock = clock
        self.pid = 0
        self.link: Link | None = None
        self.workers: dict[int, str] = {}
        """The incarnation in each partition that the process has joined."""
        self.start_at = 0.0
        self.is_done = False
        self._since = 0.0
        self._failures = 0
        self._served = False

    @property
    def is_taken(self) -> bool:
        return self.pid > 0

    @property
    def pause_s(self) -> float:
        """How long until the next process may start."""
        return max(0.0, self.start_at - self._clock())

    def taken(self, pid: int, link: Link) -> None:
        """A process was started."""
        self.pid, self.link, self._since = pid, link, self._clock()

    def listen(self) -> bool:
        """Take note of what the process says, if anything. Raises ``EOFError`` when it never will again."""
        messages = self.link.read() if self.link else []
        for message in messages:
            if message[0] == "joined":
                self.workers[int(message[1])] = message[2]
        return bool(messages)

    def left(self) -> dict[int, str]:
        """The process is gone. Gives the incarnations it had."""
        with suppress(EOFError):
            while self.listen():
                pass
        if self.link:
            self.link.close()
        workers = self.workers
        self._served = bool(workers)
        self.pid, self.link, self.workers = 0, None, {}
        return workers

    def judge(self, code: int, *, burst: bool) -> bool:
        """Whether the process ended as it should; and when another may follow it."""
        if code == DONE:
            self._failures = 0
            self.is_done = burst
            return True
        if code == WORN:
            self._failures = 0
            return True
        self.failed()
        return code == OWING

    def failed(self) -> None:
        """A process died. The first time it is replaced at once, then slower and slower."""
        if self._clock() - self._since >= HEALTHY_S:
            self._failures = 0
        most = SERVED_DELAY_S if self._served else LAST_DELAY_S
        delay = min(most, FIRST_DELAY_S * 2.0 ** (self._failures - 1)) if self._failures else 0.0
        self._failures = min(self._failures + 1, 16)
        self.start_at = self._clock() + delay
