"""End attempts: several in one call, and with the next claim in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from .keys import Keys
from .options import DEFAULTS, Options, terms
from .task import Bury, Finish, Outcome, Park, Release, Retry
from .wire.command import Arg, Command


class Settled(StrEnum):
    """What became of an outcome."""

    OK = "ok"
    LOST = "lost"
    """Somebody else has the task by now; the outcome changed nothing."""


class Verdict(NamedTuple):
    """How the attempt at a task ended. ``call`` is the token that came with the claim."""

    task_id: str
    call: int
    outcome: Outcome


def settle(
    keys: Keys,
    worker: str,
    verdicts: Sequence[Verdict],
    *,
    options: Options = DEFAULTS,
    now_ms: int | None = None,
) -> Command[list[Settled]]:
    """Record ``verdicts``, each at most once. A repeated one is ``ok``, a foreign one is ``lost``."""
    args = (*terms(options, worker, now_ms), *told(verdicts))
    return Command("settle", (keys.base,), args, settled)


def told(verdicts: Sequence[Verdict]) -> list[Arg]:
    """Verdicts as ``lua/include/settling.lua`` reads them."""
    args: list[Arg] = []
    for task_id, call, outcome in verdicts:
        args += (task_id, call, *_words(outcome))
    return args


def _words(outcome: Outcome) -> tuple[Arg, Arg, Arg]:
    match outcome:
        case Finish(result=result):
            return "finish", result, ""
        case Retry(delay_ms=delay_ms, error=error):
            return "retry", error, delay_ms
        case Bury(reason=reason, error=error):
            return "bury", error, _sendable(reason)
        case Park(delay_ms=delay_ms, reason=reason):
            return "park", _sendable(reason), delay_ms
        case Release():
            return "release", "", ""


def _sendable(reason: str) -> bytes:
    # Reasons quote what tasks say, and one that cannot be sent would hold up all the others.
    return reason.encode("utf-8", "backslashreplace")


def settled(reply: list[Any]) -> list[Settled]:
    """What a settle's reply says of each verdict."""
    return [Settled.OK if word == b"ok" else Settled.LOST for word in reply]
