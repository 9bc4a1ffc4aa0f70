"""Cancel a task that has not started."""

from __future__ import annotations

from .keys import Keys
from .options import DEFAULTS, Options, moment
from .wire.command import Command


def cancel(
    keys: Keys, task_id: str, *, options: Options = DEFAULTS, now_ms: int | None = None
) -> Command[bool]:
    """Whether the task is canceled now; ``False`` when it is unknown, runs, or has ended otherwise."""
    args = (moment(now_ms), task_id, options.failed_ttl_ms)
    return Command("cancel", (keys.base,), args, lambda reply: reply == b"canceled")
