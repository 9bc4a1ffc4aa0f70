"""The executor that blocks."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Generator, Sequence
from socket import socket
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError, ResponseError

from .caller import Caller, StrPath, results
from .command import Arg, Command
from .connect import Endpoint, Options, Role
from .dialogue import Request, broken, discover, meaning, plain, request
from .steps import Drop, Lost, Pause, Send, Start, Step

T = TypeVar("T")
R = TypeVar("R")


class Link(Protocol):
    """The part of a redis-py connection that is used here."""

    _sock: socket
    """For a selector to wait on; redis-py has no public name for it."""

    @property
    def socket_timeout(self) -> float | None: ...
    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def send_packed_command(self, command: Sequence[bytes], check_health: bool = True) -> None: ...
    def read_response(self) -> Any: ...


_executors: WeakSet[Executor] = WeakSet()


class Executor(Caller):
    """Runs commands and waits for what they give. Any number of threads may share one.

    A ``producer`` is told within two seconds that the server is away; a ``worker`` waits longer.
    """

    def __init__(
        self,
        url: str,
        *,
        role: Role = "producer",
        folder: StrPath | None = None,
        options: Options | None = None,
    ) -> None:
        super().__init__(url, role=role, folder=folder, options=options)
        self._idle = _no_links()
        _executors.add(self)

    def run(self, command: Command[T]) -> T:
        """Run one command."""
        reply = self._ask(request(command))
        return command.parse(reply)

    def run_many(self, commands: Sequence[Command[Any]], *, return_errors: bool = False) -> list[Any]:
        """Run commands in one round trip (for each server). The first error is raised when all have ended.

        With ``return_errors`` the list holds the exception of each command that failed.
        """
        replies = self._drive(self.talk([request(command) for command in commands]))
        return results(commands, replies, return_errors)

    def call(self, *args: Arg, key: str | None = None) -> Any:
        """Run a command of the server's own. ``key`` tells which server of a cluster gets it."""
        return self._ask(plain(args, key))

    def server(self, section: str = "server", key: str | None = None) -> dict[str, str]:
        """What ``INFO`` says of the server."""
        text: str = self.call("INFO", section, key=key).decode("utf-8", "replace")
        pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
        return {name: value for name, colon, value in pairs if colon}

    def dedicated(self, key: str) -> Link:
        """A new connection to the server of ``key``, for the caller alone to use and to close."""
        try:
            endpoint: Endpoint = self._drive(discover(self.route, key))
            try:
                return self._connect(endpoint, self.deadline())
            except Lost:
                self.route.lost(endpoint)
                raise
        except Lost as lost:
            refusal = meaning(self.route, lost)
        raise refusal

    def close(self) -> None:
        """Close all connections. The executor opens new ones when it is used again."""
        left, self._idle = self._idle, _no_links()
        for links in left.values():
            _close(links)

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, one: Request) -> Any:
        (reply,) = self._drive(self.talk((one,)))
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _drive(self, dialogue: Generator[Step, Any, R]) -> R:
        deadline = self.deadline()
        try:
            step = next(dialogue)
            while True:
                try:
                    answer = self._perform(step, deadline)
                except Lost as lost:
                    step = dialogue.throw(lost)
                else:
                    step = dialogue.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _perform(self, step: Step, deadline: float) -> Any:
        if isinstance(step, Send):
            return self._exchange(step, deadline)
        if isinstance(step, Drop):
            _close(self._idle[step.endpoint])
        elif isinstance(step, Start):
            return _start(step, deadline)
        elif isinstance(step, Pause):
            time.sleep(step.seconds)
        return None

    def _exchange(self, step: Send, deadline: float) -> list[Any]:
        all_idle = self._idle
        idle = all_idle[step.endpoint]
        try:
            link, fresh = idle.pop(), False
        except IndexError:
            link, fresh = self._connect(step.endpoint, deadline), True
        try:
            link.send_packed_command((step.payload,), check_health=False)
            replies = [_read(link) for _ in range(step.count)]
        except BaseException as error:
            # Whatever it was: an answer may still come, and must not be taken for that of the next command.
            link.disconnect()
            if not isinstance(error, (RedisError, OSError)):
                raise
            # Connections that were idle at the same time most likely died of the same.
            _close(idle)
            reason = broken(step.endpoint, error, fresh=fresh)
        else:
            # Another dictionary: closed in the meantime. Another time limit: opened when time was short.
            if self._idle is all_idle and link.socket_timeout == self.timeout:
                idle.append(link)
            else:
                link.disconnect()
            return replies
        raise reason

    def _connect(self, endpoint: Endpoint, deadline: float) -> Link:
        left = deadline - time.monotonic()
        if left <= 0:
            raise Lost(endpoint, "no time is left to connect", slow=True)
        arguments = endpoint.arguments(min(self.connect_timeout, left), min(self.timeout, left))
        kind: Any = (
            UnixDomainSocketConnection if endpoint.path else SSLConnection if endpoint.tls else Connection
        )
        try:
            link: Link = kind(**arguments)
            try:
                link.connect()
            except BaseException:
                link.disconnect()
                raise
            return link
        except (RedisError, OSError, ValueError) as error:
            reason = broken(endpoint, error, fresh=True)
        raise reason


def _read(link: Link) -> Any:
    try:
        return link.read_response()
    except ResponseError as refusal:
        return refusal.with_traceback(None)


def _start(step: Start, deadline: float) -> str:
    from . import embedded  # few need it, and its locks do not exist on every platform

    return embedded.ensure(step.folder, patience=max(0.0, min(10.0, deadline - time.monotonic())))


def _no_links() -> defaultdict[Endpoint, list[Link]]:
    # Lists are popped and appended to without a lock: both are atomic. Last in, first out keeps few in use.
    return defaultdict(list)


def _close(links: list[Link]) -> None:
    while links:
        try:
            link = links.pop()
        except IndexError:  # another thread took the last one
            return
        link.disconnect()


def _forget_after_fork() -> None:
    # The sockets belong to the parent, which reads from them. redis-py closes our copies quietly.
    for executor in list(_executors):
        executor._idle = _no_links()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
