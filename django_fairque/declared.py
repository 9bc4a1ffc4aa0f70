"""What ``TASKS`` says about this package's backends, without making them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings as django_settings
from django.utils.module_loading import import_string

from .compat import DEFAULT_TASK_QUEUE_NAME


def fairque_backends() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The alias and the settings of every backend that is ours."""
    from .backend import FairqueBackend

    tasks: Any = getattr(django_settings, "TASKS", {})
    for alias, params in tasks.items():
        try:
            found = import_string(params["BACKEND"])
        except (ImportError, KeyError, TypeError):
            continue  # Django's own checks report it
        if isinstance(found, type) and issubclass(found, FairqueBackend):
            yield alias, params


def declared_queues() -> frozenset[str] | None:
    """The queues that tasks may be enqueued to; ``None`` when any will do, or nothing tells."""
    found: set[str] = set()
    for _, params in fairque_backends():
        queues = params.get("QUEUES", [DEFAULT_TASK_QUEUE_NAME])
        if not queues:
            return None
        found.update(queue for queue in queues if isinstance(queue, str))
    return frozenset(found) or None
