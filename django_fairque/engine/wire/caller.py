"""What both executors know, whichever way they do their I/O."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from os import PathLike, fspath
from time import monotonic
from typing import Any

from .. import errors
from .command import Command
from .connect import PRODUCER_BUDGET, Options, Role, parse, timeouts
from .dialogue import Dialogue, Request, converse
from .route import find_route

StrPath = str | PathLike[str]


class Caller:
    """What both executors know: the way to the server, how long to wait, how often to try."""

    def __init__(self, url: str, *, role: Role, folder: StrPath | None, options: Options | None) -> None:
        self.address = parse(url, options)
        self.role = role
        self.route = find_route(self.address, fspath(folder) if folder else "")
        self.connect_timeout, self.timeout = timeouts(self.address.options, role)
        # A worker repeats its calls itself, with the same call number; a producer has one try left.
        self.retries = 1 if role == "producer" else 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address} as {self.role}>"

    def deadline(self) -> float:
        """When the call that begins now must have ended, by the monotonic clock."""
        if self.role == "worker":
            return inf
        return monotonic() + max(PRODUCER_BUDGET, self.address.options.timeout or 0.0)

    def talk(self, requests: Sequence[Request]) -> Dialogue:
        """The dialogue in which all requests are answered."""
        return converse(self.route, requests, self.retries)


def results(commands: Sequence[Command[Any]], replies: Sequence[Any], return_errors: bool) -> list[Any]:
    """What the commands make of their replies."""
    found: list[Any] = []
    for command, reply in zip(commands, replies, strict=True):
        try:
            if isinstance(reply, Exception):
                raise reply
            found.append(command.parse(reply))
        except errors.FairqueError as error:
            if not return_errors:
                raise
            found.append(error)
    return found
