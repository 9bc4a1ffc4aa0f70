"""What an idle worker listens to: the doorbells of its partitions, and what happens in its own process."""

from __future__ import annotations

import selectors
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from socket import socket as Socket
from ssl import SSLWantReadError
from typing import Any

from hiredis import Reader, ReplyError
from redis.exceptions import RedisError, ResponseError

from .. import errors
from ..keys import Keys
from .dialogue import broken, meaning
from .executor import Executor, Link
from .steps import pack

# How much later than promised an answer may come before the connection counts as dead.
_GRACE = 5.0
_NOTHING, _WOKEN, _OVER, _RANG = "nothing", "woken", "over", "rang"


@dataclass(slots=True, eq=False)
class _Line:
    """The connection to one partition's server."""

    key: str
    link: Link | None = None
    command: bytes = b""
    seconds: float = 0.0
    due: float | None = None
    """By when an answer must have come; ``None`` while nothing was asked."""
    reader: Reader = field(default_factory=Reader)

    def read(self, socket: Socket) -> Any:
        """The answer, or ``_NOTHING`` while it has not come as a whole.

        Never blocks, as redis-py would: what woke us may be TLS talking to itself.
        """
        patience = socket.gettimeout()
        socket.settimeout(0)
        try:
            said = socket.recv(65_536)
        except (BlockingIOError, SSLWantReadError):
            return _NOTHING
        finally:
            socket.settimeout(patience)
        if not said:
            raise ConnectionResetError("the server closed the connection")
        self.reader.feed(said)
        answer = self.reader.gets()
        return _NOTHING if answer is False else answer


class Bell:
    """Sleeps until a task may be there, on one connection of its own for each partition.

    For one thread. Use: ``arm`` with the bell keys of each partition, then ``wait``.
    """

    def __init__(self, executor: Executor, keys: Sequence[Keys]) -> None:
        self._executor = executor
        self._lines = [_Line(one.base) for one in keys]
        self._selector = selectors.DefaultSelector()
        self._wakeup_fd: int | None = None

    def arm(self, partition_keys: Sequence[Sequence[str]], timeout: float) -> None:
        """Begin to listen to the bells of each partition, for ``timeout`` seconds.

        A partition that is being listened to already goes on as it was, and one without bells stays
        quiet. Raises ``Unavailable`` when a server cannot be reached; the others are listened to then.
        """
        trouble: Exception | None = None
        for line, bells in zip(self._lines, partition_keys, strict=True):
            if line.due is None and bells:
                line.command, line.seconds = pack(("BLPOP", *bells, f"{timeout:.3f}")), timeout
                try:
                    self._listen(line)
                except errors.FairqueError as error:
                    # The other partitions may be on servers that are well.
                    trouble = trouble or error
        if trouble:
            raise trouble

    def wait(self, timeout: float, wakeup_fd: int | None = None) -> bool:
        """Whether a bell rang. Sleeps until then, but no longer than ``timeout`` seconds.

        Also returns, with ``False``, when ``wakeup_fd`` has something to read (which is left there) and
        when the time to listen to a partition is over. Raises ``Unavailable`` when a server was lost:
        the next ``arm`` connects to it again.
        """
        self._watch(wakeup_fd)
        end = time.monotonic() + timeout
        while True:
            now = time.monotonic()
            until = min([end, *(line.due for line in self._lines if line.due is not None)])
            happened = [self._hear(key.data) for key, _ in self._selector.select(max(0.0, until - now))]
            if any(one is not _NOTHING for one in happened):
                return _RANG in happened
            now = time.monotonic()
            for line in self._lines:
                if line.due is not None and line.due <= now:
                    raise self._lose(line, TimeoutError("no answer in time"))
            if now >= end:
                return False

    def close(self) -> None:
        """Close the connections. A token that is on its way to them is lost to this worker."""
        for line in self._lines:
            self._hang_up(line)
        self._watch(None)

    def __enter__(self) -> Bell:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._selector.close()

    def _watch(self, wakeup_fd: int | None) -> None:
        if wakeup_fd == self._wakeup_fd:
            return
        if self._wakeup_fd is not None:
            self._selector.unregister(self._wakeup_fd)
        if wakeup_fd is not None:
            self._selector.register(wakeup_fd, selectors.EVENT_READ, None)
        self._wakeup_fd = wakeup_fd

    def _listen(self, line: _Line) -> None:
        """Ask for a token; the answer is read by ``wait``."""
        try:
            if line.link is None:
                line.link = self._executor.dedicated(line.key)
                self._selector.register(line.link._sock, selectors.EVENT_READ, line)
            line.link.send_packed_command((line.command,), check_health=False)
        except (RedisError, OSError) as error:
            raise self._lose(line, error) from None
        line.due = time.monotonic() + line.seconds + _GRACE

    def _hear(self, line: _Line | None) -> str:
        """What became of a connection, or of the wake-up, that has something to read."""
        if line is None:
            return _WOKEN
        if line.link is None:  # lost while the others of the same moment were read
            return _NOTHING
        if line.due is None:
            # Nothing was asked, so this can only be the server closing an idle connection.
            self._hang_up(line)
            return _NOTHING
        try:
            reply = line.read(line.link._sock)
        except OSError as error:
            raise self._lose(line, error) from None
        if reply == _NOTHING:
            return _NOTHING
        if isinstance(reply, ReplyError):
            if not str(reply).startswith("MOVED "):
                raise self._lose(line, ResponseError(str(reply)))
            self._executor.route.lost()
            self._hang_up(line)
            self._listen(line)
            return _NOTHING
        line.due = None
        return _OVER if reply is None else _RANG

    def _lose(self, line: _Line, error: Exception) -> Exception:
        """Close a connection that is of no use, and say why."""
        self._hang_up(line)
        route = self._executor.route
        # It may be gone, or a replica by now: the next one must not be opened to the same place unasked.
        route.lost()
        if not isinstance(error, ResponseError):
            error = broken(route.somewhere, error, fresh=False)
        return meaning(route, error)

    def _hang_up(self, line: _Line) -> None:
        link, line.link, line.due, line.reader = line.link, None, None, Reader()
        if link is not None:
            # A connection that redis-py has closed by itself has no socket any more to look it up by.
            for key in [one for one in self._selector.get_map().values() if one.data is line]:
                self._selector.unregister(key.fileobj)
            link.disconnect()
