"""What can go wrong, said so that the caller knows what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class FairqueError(Exception):
    """The base of every error this package raises on purpose."""


class Invalid(FairqueError, ValueError):
    """A value was refused before anything was written. ``field`` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class Conflict(FairqueError):
    """A task with this id exists already and carries other work. Nothing was written."""

    def __init__(self, task_id: str) -> None:
        super().__init__(
            f"Task id {task_id!r} is taken by a task with another user, function, queue or arguments."
        )
        self.task_id = task_id


class QueueFull(FairqueError):
    """The user has reached its backlog limit. Nothing was written; try again when it has drained."""

    def __init__(self, user_id: str, waiting: int, limit: int) -> None:
        super().__init__(
            f"User {user_id!r} has {waiting} waiting tasks of the {limit} it may have, "
            "and the call would pass that; nothing was enqueued."
        )
        self.user_id, self.waiting, self.limit = user_id, waiting, limit


class PartlyStored(FairqueError):
    """A call of several parts ended early.

    ``stored`` holds the ids that are safely enqueued; ``results``, in the order of the calls, each one's
    result, or ``None`` where the call was not enqueued (or, when ``reason`` is ``Unavailable``, may not be).
    """

    def __init__(
        self, stored: Sequence[str], total: int, reason: Exception, results: Sequence[Any] = ()
    ) -> None:
        super().__init__(f"{len(stored)} of {total} tasks were stored, then: {reason}")
        self.stored, self.total, self.reason = list(stored), total, reason
        self.results = list(results)


class LeaseLost(FairqueError):
    """The worker was taken for dead and its tasks were given to others. Go on under a new incarnation."""

    def __init__(self, worker: str) -> None:
        super().__init__(f"Worker {worker} lost its lease; its tasks belong to others now.")
        self.worker = worker


class Unavailable(FairqueError):
    """The server did not answer in time or cannot be reached. Whether the command ran is unknown."""


class ServerFull(FairqueError):
    """The server is out of memory and took nothing. It takes tasks again once it has drained."""


class ScriptFailed(FairqueError):
    """The server refused a command or a script ended in an error. The text is the server's own."""


class Refused(FairqueError):
    """The server does not let us in, or not do that: wrong credentials or missing permissions."""


class WorkerLost(FairqueError):
    """The end of a task whose workers died again and again while they ran it."""


class Corrupt(FairqueError):
    """The end of a task whose record on the server is damaged, so that it cannot be run."""


class Canceled(FairqueError):
    """The end of a task that was canceled."""
