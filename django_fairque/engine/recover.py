"""Take back the tasks of workers that died."""

from __future__ import annotations

from .keys import Keys
from .options import DEFAULTS, Options, moment
from .wire.command import Command


def recover(
    keys: Keys,
    worker: str | None = None,
    *,
    limit: int = 1_000,
    options: Options = DEFAULTS,
    now_ms: int | None = None,
) -> Command[int]:
    """Take back up to ``limit`` tasks of workers whose lease ended, and of ``worker``, known to be dead.

    Its tasks return to their places. One that has lost its worker ``max_deliveries`` times is buried.
    """
    args = (
        moment(now_ms),
        options.lease_ms,
        options.max_deliveries,
        limit,
        options.failed_ttl_ms,
        options.dead_letter_limit,
        worker or "",
        options.fairness,
        options.debt,
    )
    return Command("recover", (keys.base,), args, int)
