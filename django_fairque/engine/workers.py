"""Who is alive, and whom they serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .keys import Keys, decode
from .options import moment
from .serve import Everyone, Group, Serve, Target, User
from .wire.command import Command


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """One worker process: what it said of itself when it joined, and what it holds now."""

    id: str
    lease_ms: int
    """How long its lease still lasts; negative when it is overdue."""
    running: int
    about: Mapping[str, str]

    @property
    def serve(self) -> Serve:
        """Whom it serves."""
        return unpack(self.about.get("serve", ""))


def pack(serve: Serve) -> str:
    """``serve`` as a worker says it of itself when it joins (field ``serve``)."""
    return " ".join(str(part) for part in serve.packed)


def unpack(text: str) -> Serve:
    """The ``Serve`` that ``pack`` was given."""
    words = iter(text.split(" ") if text else ("0", "0", "0"))

    def several() -> list[str]:
        return [next(words) for _ in range(int(next(words)))]

    def target(word: str) -> Target:
        if word == "A":
            return Everyone()
        return Group(decode(word[1:])) if word[0] == "G" else User(decode(word[1:]))

    queues = tuple(decode(word) for word in several())
    return Serve(queues, tuple(map(target, several())), tuple(map(target, several())))


def workers(
    keys: Keys, *, first: int = 0, last: int = 999, now_ms: int | None = None
) -> Command[list[WorkerRecord]]:
    """The living workers by the end of their lease, from rank ``first`` to ``last``."""

    def read(reply: list[Any]) -> list[WorkerRecord]:
        now = int(reply[0])
        return [
            WorkerRecord(
                id.decode(),
                int(float(ends)) - now,
                running,
                {
                    name.decode(): value.decode(errors="replace")
                    for name, value in zip(about[::2], about[1::2], strict=True)
                },
            )
            for id, ends, running, about in reply[1:]
        ]

    return Command("workers", (keys.base,), (moment(now_ms), first, last), read)
