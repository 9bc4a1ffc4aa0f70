"""Tasks that say when they began and ended."""

from __future__ import annotations

import asyncio
from functools import cache
from time import monotonic, sleep

from django_fairque import task

from .stamps import Stamps, shared


@cache
def _stamps() -> Stamps:
    return shared()


@task
def noop(number: int, seconds: float = 0.0) -> None:
    """Nothing but its stamps."""
    stamps = _stamps()
    stamps[2 * number] = stamps[2 * number + 1] = monotonic()


@task
def nap(number: int, seconds: float) -> None:
    """Takes its time in a thread."""
    stamps = _stamps()
    stamps[2 * number] = monotonic()
    sleep(seconds)
    stamps[2 * number + 1] = monotonic()


@task
async def anap(number: int, seconds: float) -> None:
    """Takes its time on the event loop."""
    stamps = _stamps()
    stamps[2 * number] = monotonic()
    await asyncio.sleep(seconds)
    stamps[2 * number + 1] = monotonic()
