"""The steps of a dialogue with servers: what an executor can be asked to do, and what can go wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from hiredis import pack_command

from .command import Arg
from .connect import Endpoint

pack = cast("Callable[[tuple[Arg, ...]], bytes]", pack_command)
"""The bytes of one command, as the server reads it."""


@dataclass(slots=True, eq=False)
class Send:
    """Send ``payload`` and read ``count`` replies; an error reply is an exception in the list."""

    endpoint: Endpoint
    payload: bytes
    count: int


@dataclass(slots=True, eq=False)
class Drop:
    """Close the idle connections to a server: what they are connected to is not what is needed."""

    endpoint: Endpoint


@dataclass(slots=True, eq=False)
class Start:
    """Make sure that the embedded server of this folder runs. The answer is its socket's path."""

    folder: str


@dataclass(slots=True, eq=False)
class Pause:
    """Wait a moment: the server asked for it."""

    seconds: float


Step = Send | Drop | Start | Pause


class Lost(Exception):
    """The connection broke before all replies were read, or could not be made."""

    def __init__(self, endpoint: Endpoint, reason: object, *, slow: bool = False, fresh: bool = True) -> None:
        super().__init__(f"{endpoint}: {reason}")
        self.slow, self.fresh = slow, fresh

    def may_pass(self, *, changes: bool) -> bool:
        """Whether another try, at once, may do better.

        An idle connection may have died of old age; where the way to the server ``changes``, another
        one may have taken over. To wait out a second time limit would break the promise to fail soon.
        """
        return not self.slow and (changes or not self.fresh)
