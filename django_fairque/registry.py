"""The tasks this process knows, by name. Nothing here ever imports what a name from Redis says."""

from __future__ import annotations

import sys
from typing import Any

from .compat import AnyTask, InvalidTask, Task

_tasks: dict[str, AnyTask] = {}


def register(task: AnyTask) -> None:
    """Let workers run ``task`` under its module path. Another function of the same name is an error."""
    name = task.module_path
    known = _tasks.get(name)
    if known is None or known.func is task.func:
        _tasks.setdefault(name, task)
    elif _is_same(known.func, task.func):
        _tasks[name] = task  # its module was loaded again
    else:
        raise InvalidTask(
            f"Two functions are named {name!r} (lines {known.func.__code__.co_firstlineno} and "
            f"{task.func.__code__.co_firstlineno}). Rename one: workers find tasks by this name."
        )


def find(name: str) -> AnyTask | None:
    """The task of this name, if this process has loaded it."""
    found = _tasks.get(name)
    return found if found is not None else _loaded(name)


def names() -> list[str]:
    """The names of all registered tasks."""
    return sorted(_tasks)


def _loaded(name: str) -> AnyTask | None:
    # A plain Task, made by a decorator while another backend was the default, registers nowhere. It is
    # looked for where it must be, in modules that are loaded already, and only a Task is taken.
    module, _, attribute = name.rpartition(".")
    while module:
        holder: Any = sys.modules.get(module)
        if holder is not None:
            for part in attribute.split("."):
                holder = getattr(holder, part, None)
            if isinstance(holder, Task) and holder.module_path == name:
                _tasks[name] = holder
                return holder
            return None
        module, _, head = module.rpartition(".")
        attribute = f"{head}.{attribute}"
    return None


def _is_same(one: Any, other: Any) -> bool:
    return (one.__code__.co_filename, one.__code__.co_firstlineno) == (
        other.__code__.co_filename,
        other.__code__.co_firstlineno,
    )
