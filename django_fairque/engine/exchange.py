"""Hand in outcomes and take the next tasks, in one script: what a busy worker does all day."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from .claim import Claim, asked, claimed
from .errors import LeaseLost
from .keys import Keys
from .options import DEFAULTS, Options, terms
from .serve import Serve
from .settle import Settled, Verdict, settled, told
from .wire.command import Command


class Exchange(NamedTuple):
    """What became of the outcomes, and what came for them."""

    settled: list[Settled]
    claim: Claim | None
    """``None`` when the worker lost its lease: it gets nothing any more under this name."""


def exchange(
    keys: Keys,
    worker: str,
    verdicts: Sequence[Verdict],
    call: int,
    limit: int,
    serve: Serve,
    *,
    options: Options = DEFAULTS,
    floor: float = 0.0,
    now_ms: int | None = None,
) -> Command[Exchange]:
    """``settle`` the ``verdicts``, then ``claim`` up to ``limit`` tasks. Each promises what it does alone."""
    args = (*terms(options, worker, now_ms), *asked(call, limit, floor, serve), *told(verdicts))
    return Command("exchange", (keys.base,), args, partial(_exchange, worker, call))


def _exchange(worker: str, call: int, reply: list[Any]) -> Exchange:
    try:
        claim = claimed(worker, call, reply[1])
    except LeaseLost:
        claim = None
    return Exchange(settled(reply[0]), claim)
