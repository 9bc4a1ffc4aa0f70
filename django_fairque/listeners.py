"""Django's task signals, sent so that no receiver can change what becomes of a task."""

from __future__ import annotations

import logging
from typing import Any

from asgiref.sync import sync_to_async
from django.dispatch import Signal

from .compat import LOGGER, TaskResultStatus, task_enqueued, task_finished, task_started

logger = logging.getLogger("django_fairque")

# Django connects a receiver of its own to each, which only logs: first of all, at import.
_django = logging.getLogger(LOGGER)
_LOGS = {
    id(signal): (signal.receivers[0][0], level)
    for signal, level in (
        (task_enqueued, logging.DEBUG),
        (task_started, logging.INFO),
        (task_finished, logging.INFO),
    )
}


def only_django_listens(signal: Signal) -> bool:
    """Whether nobody but Django's logging hears the signal. Then it needs no thread in async code."""
    receivers = signal.receivers
    return not receivers or (len(receivers) == 1 and receivers[0][0] == _LOGS[id(signal)][0])


def nobody_listens(signal: Signal) -> bool:
    """Whether sending would do nothing: only Django's logging hears it, and would not log a success."""
    return only_django_listens(signal) and not _django.isEnabledFor(_LOGS[id(signal)][1])


def tell(signal: Signal, sender: type, result: Any) -> None:
    """Send ``signal``. What a receiver raises, whatever it is, is logged and goes no further."""
    if nobody_listens(signal) and result.status is not TaskResultStatus.FAILED:
        return
    try:
        signal.send_robust(sender, task_result=result)
    except BaseException:  # send_robust lets SystemExit and its like through
        logger.exception("A receiver of a task signal failed", extra={"task_id": result.id})


async def atell(signal: Signal, sender: type, result: Any) -> None:
    """The same in async code: receivers that block do so in the task's own thread."""
    if only_django_listens(signal):
        tell(signal, sender, result)
    else:
        # Not asend_robust: before Django 6.1 its receivers cannot see the exception that is being handled.
        await sync_to_async(tell)(signal, sender, result)
