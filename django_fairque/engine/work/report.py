"""What a worker says on the log: one line an event, with the facts in ``extra``."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from ..task import Bury, Finish, Park, Release, Retry

if TYPE_CHECKING:
    from ..task import Claimed, Outcome

log = logging.getLogger("django_fairque.worker")


def facts(claimed: Claimed, worker: str, **more: Any) -> dict[str, Any]:
    """What to know of a task, for ``extra``."""
    return {
        "task_id": claimed.id,
        "user_id": claimed.user_id,
        "task_name": claimed.name,
        "queue": claimed.queue,
        "attempt": claimed.attempt,
        "worker": worker,
        **more,
    }


def begun(claimed: Claimed, worker: str) -> None:
    """A task was handed to a thread or to the loop."""
    log.debug("Task %s (%s) started.", claimed.id, claimed.name, extra=facts(claimed, worker))


def ended(claimed: Claimed, outcome: Outcome, worker: str) -> None:
    """An attempt came to its end."""
    match outcome:
        case Finish(run_ms=run_ms):
            log.debug(
                "Task %s (%s) finished in %.1f ms.",
                claimed.id, claimed.name, run_ms, extra=facts(claimed, worker, run_ms=run_ms),
            )  # fmt: skip
        case Retry(delay_ms=delay_ms, error=error, run_ms=run_ms):
            log.warning(
                "Task %s (%s) failed in attempt %d and is tried again in %.1f s: %s",
                claimed.id, claimed.name, claimed.attempt, delay_ms / 1_000, _last_line(error),
                extra=facts(claimed, worker, run_ms=run_ms),
            )  # fmt: skip
        case Bury(reason=reason, run_ms=run_ms):
            log.error(
                "Task %s (%s) failed for good in attempt %d: %s",
                claimed.id, claimed.name, claimed.attempt, reason,
                extra=facts(claimed, worker, run_ms=run_ms, reason=reason),
            )  # fmt: skip
        case Park(delay_ms=delay_ms, reason=reason):
            log.warning(
                "Task %s (%s) is parked for %.0f s: %s",
                claimed.id, claimed.name, delay_ms / 1_000, reason,
                extra=facts(claimed, worker, reason=reason),
            )  # fmt: skip
        case Release():
            log.debug("Task %s (%s) was handed back.", claimed.id, claimed.name, extra=facts(claimed, worker))


def lost(task_id: str, worker: str) -> None:
    """The server would not have an outcome: the task was recovered meanwhile, or canceled."""
    log.warning(
        "The outcome of task %s came too late: it belongs to another worker by now.",
        task_id,
        extra={"task_id": task_id, "worker": worker},
    )


def dropped(claimed: Claimed, worker: str) -> None:
    """An attempt ended that was begun under a lease which is lost."""
    log.warning(
        "Task %s (%s) ended after the lease of %s was lost; others run it now.",
        claimed.id, claimed.name, worker, extra=facts(claimed, worker),
    )  # fmt: skip


def _last_line(error: bytes) -> str:
    """The end of a stored error, which names it: of its traceback, where it is a record that has one."""
    text = error.decode(errors="replace")
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError):
        stored = None
    if isinstance(stored, dict) and isinstance(stored.get("traceback"), str):
        text = stored["traceback"]
    return text.strip().rpartition("\n")[2][:500] or "no reason given"
