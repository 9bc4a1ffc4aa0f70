"""The line between a supervisor and one of its children: short words, both ways, one message a line."""

from __future__ import annotations

import socket
from contextlib import suppress

_MOST = 65_536


class Link:
    """One end. When the other end's process dies, ``read`` raises ``EOFError``."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._rest = b""

    @classmethod
    def pair(cls) -> tuple[Link, Link]:
        """Two ends of a new line; the first does not block."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        return cls(ours), cls(theirs)

    def fileno(self) -> int:
        """For selectors."""
        return self._end.fileno()

    def send(self, *words: str | int) -> None:
        """Say something. Nobody may be there to hear it any more: whoever reads will notice."""
        with suppress(OSError):
            self._end.send((" ".join(str(word) for word in words) + "\n").encode())

    def read(self) -> list[list[str]]:
        """The messages that are there, at least one on a blocking end, none where there are none."""
        messages: list[list[str]] = []
        while not messages:
            try:
                received = self._end.recv(_MOST)
            except BlockingIOError:
                break
            except OSError:
                received = b""
            if not received:
                raise EOFError
            *lines, self._rest = (self._rest + received).split(b"\n")
            messages = [line.decode().split(" ") for line in lines]
        return messages

    def close(self) -> None:
        """Hang up."""
        self._end.close()
