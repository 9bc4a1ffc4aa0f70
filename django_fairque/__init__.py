"""Fair background tasks for Django: every user of a site gets its turn.

The names are loaded on first use, so that the engine can be imported without Django.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine.errors import Conflict as Conflict
    from .engine.errors import FairqueError as FairqueError
    from .engine.errors import PartlyStored as PartlyStored
    from .engine.errors import QueueFull as QueueFull
    from .engine.errors import ServerFull as ServerFull
    from .engine.errors import Unavailable as Unavailable
    from .engine.retry import Retry as Retry
    from .engine.task import Priority as Priority
    from .fairque_task import FairqueTask as FairqueTask
    from .fairque_task import task as task

__version__ = "0.1.0"
__all__ = [
    "Conflict",
    "FairqueError",
    "FairqueTask",
    "PartlyStored",
    "Priority",
    "QueueFull",
    "Retry",
    "ServerFull",
    "Unavailable",
    "task",
]

_HOMES = {
    "Conflict": ".engine.errors",
    "FairqueError": ".engine.errors",
    "PartlyStored": ".engine.errors",
    "QueueFull": ".engine.errors",
    "ServerFull": ".engine.errors",
    "Unavailable": ".engine.errors",
    "FairqueTask": ".fairque_task",
    "Priority": ".engine.task",
    "Retry": ".engine.retry",
    "task": ".fairque_task",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
