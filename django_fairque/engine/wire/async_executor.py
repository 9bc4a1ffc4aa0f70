"""The executor that awaits."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Sequence
from time import monotonic
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError, ResponseError

from .caller import Caller, StrPath, results
from .command import Arg, Command
from .connect import Endpoint, Options, Role
from .dialogue import Dialogue, Request, broken, plain, request
from .steps import Drop, Lost, Pause, Send, Start, Step

T = TypeVar("T")


class Link(Protocol):
    """The part of a redis-py connection that is used here."""

    async def connect(self) -> None: ...
    async def disconnect(self, nowait: bool = False) -> None: ...
    async def send_packed_command(self, command: Sequence[bytes], check_health: bool = True) -> None: ...
    async def read_response(self) -> Any: ...


Links = defaultdict[Endpoint, list[Link]]
_executors: WeakSet[AsyncExecutor] = WeakSet()


class AsyncExecutor(Caller):
    """Runs commands and lets others run meanwhile. Tasks of any number of event loops may share one.

    Says and understands the same as the blocking ``Executor``: only the waiting is different.
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
        # A connection belongs to the event loop that opened it.
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Links] = WeakKeyDictionary()
        _executors.add(self)

    async def run(self, command: Command[T]) -> T:
        """Run one command."""
        reply = await self._ask(request(command))
        return command.parse(reply)

    async def run_many(self, commands: Sequence[Command[Any]], *, return_errors: bool = False) -> list[Any]:
        """Run commands in one round trip (for each server). The first error is raised when all have ended.

        With ``return_errors`` the list holds the exception of each command that failed.
        """
        replies = await self._drive(self.talk([request(command) for command in commands]))
        return results(commands, replies, return_errors)

    async def call(self, *args: Arg, key: str | None = None) -> Any:
        """Run a command of the server's own. ``key`` tells which server of a cluster gets it."""
        return await self._ask(plain(args, key))

    async def aclose(self) -> None:
        """Close this event loop's connections. The executor opens new ones when it is used again."""
        links = self._loops.pop(asyncio.get_running_loop(), None)
        for idle in (links or {}).values():
            await _close(idle, nowait=False)

    async def __aenter__(self) -> AsyncExecutor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _ask(self, one: Request) -> Any:
        (reply,) = await self._drive(self.talk((one,)))
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def _drive(self, dialogue: Dialogue) -> list[Any]:
        deadline = self.deadline()
        try:
            step = next(dialogue)
            while True:
                try:
                    answer = await self._perform(step, deadline)
                except Lost as lost:
                    step = dialogue.throw(lost)
                else:
                    step = dialogue.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _perform(self, step: Step, deadline: float) -> Any:
        if isinstance(step, Send):
            return await self._exchange(step, deadline)
        if isinstance(step, Drop):
            await _close(self._links()[step.endpoint])
        elif isinstance(step, Start):
            return await asyncio.to_thread(_start, step, deadline)
        elif isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
        return None

    async def _exchange(self, step: Send, deadline: float) -> list[Any]:
        links = self._links()
        idle = links[step.endpoint]
        fresh = not idle
        link = self._new_link(step.endpoint) if fresh else idle.pop()
        try:
            async with asyncio.timeout(min(self._patience(fresh), deadline - monotonic())):
                if fresh:
                    await link.connect()
                await link.send_packed_command((step.payload,), check_health=False)
                replies = [await _read(link) for _ in range(step.count)]
        except BaseException as error:
            # Whatever it was: an answer may still come, and must not be taken for another command's.
            await link.disconnect(nowait=True)
            if not isinstance(error, (RedisError, OSError, ValueError)):
                raise
            # Connections that were idle at the same time most likely died of the same.
            await _close(idle)
            reason = broken(step.endpoint, error, fresh=fresh)
        else:
            if self._loops.get(asyncio.get_running_loop()) is links:
                idle.append(link)
            else:  # closed in the meantime
                await link.disconnect()
            return replies
        raise reason

    def _new_link(self, endpoint: Endpoint) -> Link:
        # We keep one time limit around the whole exchange; redis-py's around each read and write cost more.
        arguments = endpoint.arguments(self.connect_timeout, None)
        kind: Any = SSLConnection if endpoint.tls else Connection
        if endpoint.path:
            kind = UnixDomainSocketConnection
        link: Link = kind(**arguments)
        return link

    def _patience(self, fresh: bool) -> float:
        return self.timeout + self.connect_timeout if fresh else self.timeout

    def _links(self) -> Links:
        loop = asyncio.get_running_loop()
        links = self._loops.get(loop)
        if links is None:
            # A connection refers to its loop, so loops that have ended would stay for ever.
            for ended in [one for one in list(self._loops) if one.is_closed()]:
                self._loops.pop(ended, None)
            links = self._loops[loop] = defaultdict(list)
        return links


async def _read(link: Link) -> Any:
    try:
        return await link.read_response()
    except ResponseError as refusal:
        return refusal.with_traceback(None)


async def _close(links: list[Link], *, nowait: bool = True) -> None:
    while links:
        await links.pop().disconnect(nowait=nowait)


def _start(step: Start, deadline: float) -> str:
    from . import embedded  # few need it, and its locks do not exist on every platform

    return embedded.ensure(step.folder, patience=max(0.0, min(10.0, deadline - monotonic())))


def _forget_after_fork() -> None:
    # The sockets belong to the parent, which reads from them.
    for executor in list(_executors):
        executor._loops = WeakKeyDictionary()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
