"""Whether and when a failed attempt is tried again: a value that decides, and does nothing itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import Invalid

MAX_DELAY_S = 365 * 86_400


def dotted(kind: type) -> str:
    """The name by which errors are stored and compared."""
    return f"{kind.__module__}.{kind.__qualname__}"


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed task runs again. Without one, a task has a single attempt.

    Make one with ``Retry.fixed(...)`` or ``Retry.exponential(...)``. ``retry_on`` and ``give_up_on``
    take exception classes or their dotted names; subclasses count too, and ``give_up_on`` wins.
    """

    max_attempts: int = 1
    base: float = 0.0
    """Seconds before the second attempt."""
    factor: float = 1.0
    """By how much each delay is longer than the one before."""
    cap: float = MAX_DELAY_S
    """Seconds no delay exceeds."""
    jitter: float = 0.0
    """The share of a delay that chance may take off: what failed together need not return together."""
    retry_on: tuple[str, ...] = ("builtins.Exception",)
    give_up_on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.max_attempts, bool) or not isinstance(self.max_attempts, int):
            raise Invalid("max_attempts", "must be a whole number.")
        if not 1 <= self.max_attempts <= 1_000:
            raise Invalid("max_attempts", f"must be between 1 and 1,000, not {self.max_attempts}.")
        for field, value, low, high in (
            ("base", self.base, 0, MAX_DELAY_S),
            ("factor", self.factor, 1, 1_000),
            ("cap", self.cap, 0, MAX_DELAY_S),
            ("jitter", self.jitter, 0, 1),
        ):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise Invalid(field, f"must be a number between {low:,} and {high:,}, not {value!r}.")

    @classmethod
    def fixed(
        cls,
        delay: float = 10.0,
        *,
        max_attempts: int = 3,
        jitter: float = 0.0,
        retry_on: Iterable[type[BaseException] | str] = (Exception,),
        give_up_on: Iterable[type[BaseException] | str] = (),
    ) -> Retry:
        """Try again after the same ``delay`` (seconds), ``max_attempts`` times in all."""
        return cls(
            max_attempts,
            delay,
            1.0,
            MAX_DELAY_S,
            jitter,
            _names("retry_on", retry_on),
            _names("give_up_on", give_up_on),
        )

    @classmethod
    def exponential(
        cls,
        *,
        max_attempts: int = 5,
        base: float = 1.0,
        factor: float = 2.0,
        cap: float = 600.0,
        jitter: float = 0.25,
        retry_on: Iterable[type[BaseException] | str] = (Exception,),
        give_up_on: Iterable[type[BaseException] | str] = (),
    ) -> Retry:
        """Try again after ``base`` seconds, then twice as long each time, up to ``cap`` seconds."""
        return cls(
            max_attempts,
            base,
            factor,
            cap,
            jitter,
            _names("retry_on", retry_on),
            _names("give_up_on", give_up_on),
        )

    def after(
        self, attempt: int, error: BaseException, *, chance: Callable[[], float] = random.random
    ) -> int | None:
        """Milliseconds until the next attempt after ``attempt`` ended in ``error``; ``None`` to give up."""
        if attempt >= self.max_attempts:
            return None
        names = {dotted(kind) for kind in type(error).__mro__}
        if names.isdisjoint(self.retry_on) or not names.isdisjoint(self.give_up_on):
            return None
        delay = self.cap
        # factor ** attempt would overflow long before a thousand attempts; the cap is reached earlier.
        if self.factor == 1.0 or attempt <= 64:
            delay = min(self.cap, self.base * self.factor ** (attempt - 1))
        return round(1_000 * delay * (1 - self.jitter * chance()))

    def packed(self) -> dict[str, Any]:
        """This rule as JSON, for a task that carries its own; see ``unpacked``."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def unpacked(cls, stored: Mapping[str, Any]) -> Retry:
        """The rule that ``packed`` described. Fields this version does not know are ignored."""
        known = {name: stored[name] for name in cls.__dataclass_fields__ if name in stored}
        for name in ("retry_on", "give_up_on"):
            if name in known:
                known[name] = tuple(known[name])
        return cls(**known)


ONCE = Retry()
"""One attempt: what a task without a rule gets."""


def _names(field: str, kinds: Iterable[type[BaseException] | str]) -> tuple[str, ...]:
    if isinstance(kinds, (str, type)):
        kinds = (kinds,)
    names = []
    for kind in kinds:
        if isinstance(kind, str):
            names.append(kind)
        elif isinstance(kind, type) and issubclass(kind, BaseException):
            names.append(dotted(kind))
        else:
            raise Invalid(field, f"takes exception classes or their dotted names, not {kind!r}.")
    return tuple(names)
