"""Whom a worker serves: its queues, its home, and whom it may steal for."""

from __future__ import annotations

from dataclasses import dataclass

from .keys import EVERYBODY, encode, encode_group, encode_queue


@dataclass(frozen=True, slots=True)
class Group:
    """All users assigned to the worker of this name; ``Group("*")`` is everybody else."""

    name: str = EVERYBODY

    @property
    def packed(self) -> str:
        return "G" + encode_group(self.name)


@dataclass(frozen=True, slots=True)
class User:
    """One user, whichever group it is in."""

    id: str

    @property
    def packed(self) -> str:
        return "U" + encode(self.id)


@dataclass(frozen=True, slots=True)
class Everyone:
    """All groups that have users."""

    @property
    def packed(self) -> str:
        return "A"


Target = Group | User | Everyone


@dataclass(frozen=True, slots=True)
class Serve:
    """Home comes first; the targets of ``steal`` are served when nobody at home is ready."""

    queues: tuple[str, ...] = ("default",)
    home: tuple[Target, ...] = (Group(),)
    steal: tuple[Target, ...] = (Everyone(),)

    @property
    def packed(self) -> tuple[str | int, ...]:
        """The part of a claim's arguments that never changes for a worker."""
        parts: list[str | int] = []
        for names in (
            [encode_queue(queue) for queue in self.queues],
            [target.packed for target in self.home],
            [target.packed for target in self.steal],
        ):
            parts.append(len(names))
            parts.extend(names)
        return tuple(parts)
