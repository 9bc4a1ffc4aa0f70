"""Functions by name: the plain runner of the engine, without a framework around the task."""

from __future__ import annotations

import asyncio
import inspect
import json
import traceback
from collections.abc import Callable
from time import perf_counter
from typing import Any, TypeVar

from ..task import Bury, Claimed, Finish, Outcome
from .attempt import describe

F = TypeVar("F", bound=Callable[..., Any])
After = Callable[[Claimed, BaseException, float], Outcome]


def bury(claimed: Claimed, error: BaseException, run_ms: float) -> Outcome:
    """Bury a task at its first failure."""
    return Bury(describe(error), traceback_of(error), run_ms)


def traceback_of(error: BaseException) -> bytes:
    """The end of an exception's traceback as text, as it is kept with the task."""
    return "".join(traceback.format_exception(error)).encode(errors="backslashreplace")[-8_000:]


class Registry:
    """A runner over registered functions. Payloads are JSON: ``[args, kwargs]``.

    >>> registry = Registry()
    >>> @registry.register
    ... def add(a, b):
    ...     return a + b

    ``after`` decides what becomes of a task that failed: see ``bury`` for the shape.
    """

    def __init__(self, after: After = bury) -> None:
        self._functions: dict[str, tuple[Callable[..., Any], bool]] = {}
        self._after = after

    def register(self, function: F, name: str | None = None) -> F:
        """Let workers run ``function``; usable as a decorator."""
        self._functions[name or function.__name__] = (function, inspect.iscoroutinefunction(function))
        return function

    def knows(self, name: str) -> bool:
        return name in self._functions

    def is_async(self, name: str) -> bool:
        return self._functions[name][1]

    def run(self, claimed: Claimed) -> Outcome:
        began = perf_counter()
        try:
            args, kwargs = json.loads(claimed.payload)
            value = self._functions[claimed.name][0](*args, **kwargs)
            return Finish(json.dumps(value).encode(), (perf_counter() - began) * 1_000)
        except BaseException as error:  # SystemExit in a task ends the attempt, not the worker
            return self._after(claimed, error, (perf_counter() - began) * 1_000)

    async def arun(self, claimed: Claimed) -> Outcome:
        began = perf_counter()
        try:
            args, kwargs = json.loads(claimed.payload)
            value = await self._functions[claimed.name][0](*args, **kwargs)
            return Finish(json.dumps(value).encode(), (perf_counter() - began) * 1_000)
        except asyncio.CancelledError as error:
            return self._after(claimed, error, (perf_counter() - began) * 1_000)
        except BaseException as error:
            return self._after(claimed, error, (perf_counter() - began) * 1_000)

    def close_thread(self) -> None:
        return None
