"""End attempts: several in one call, and with the next claim in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from .keys import Keys
from .options import DEFAULTS, Options, moment
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
    args: list[Arg] = [
        moment(now_ms),
        worker,
        options.result_ttl_ms,
        options.failed_ttl_ms,
        options.finished_limit,
        options.dead_letter_limit,
        options.fairness,
        options.debt,
    ]
    for task_id, call, outcome in verdicts:
        args += (task_id, call, *_words(outcome))
    return Command("settle", (keys.base,), tuple(args), _settled)


def _words(outcome: Outcome) -> tuple[Arg, Arg, Arg]:
    match outcome:
        case Finish(result=result):
            return "finish", result, ""
        case Retry(delay_ms=delay_ms, error=error):
            return "retry", error, delay_ms
        case Bury(reason=reason, error=error):
            return "bury", error, reason
        case Park(delay_ms=delay_ms, reason=reason):
            return "park", reason, delay_ms
        case Release():
            return "release", "", ""


def _settled(reply: list[Any]) -> list[Settled]:
    return [Settled.OK if word == b"ok" else Settled.LOST for word in reply]
