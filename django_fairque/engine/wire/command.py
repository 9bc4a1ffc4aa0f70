"""One step of a task's life as data: which script to run, on which keys, and how to read the reply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Arg = bytes | str | int | float


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """A script call that has not been sent yet. Two equal commands do the same thing."""

    script: str
    keys: tuple[str, ...]
    args: tuple[Arg, ...]
    parse: Callable[[Any], T] = field(compare=False, repr=False)
