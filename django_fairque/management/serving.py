"""From the settings and a command line to what a worker is told: whom it serves, and with how many hands."""

from __future__ import annotations

import difflib
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from django.core.management.base import CommandError

from ..conf import Settings, WorkerSettings
from ..declared import declared_queues
from ..engine import workers
from ..engine.errors import Invalid
from ..engine.keys import EVERYBODY, Space
from ..engine.serve import Everyone, Group, Serve, Target, User
from ..engine.work.plan import WorkerPlan
from ..site import options_of
from ..users import Users

Names = tuple[str, ...] | Literal["*"]


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the command line says. ``None`` leaves it to the settings."""

    name: str | None = None
    users: Names | None = None
    steal: Names | None = None
    queues: tuple[str, ...] | None = None
    processes: int | None = None
    concurrency: int | None = None
    burst: bool = False
    max_tasks: int | None = None
    grace: float | None = None


def plan_of(settings: Settings, users: Users, wishes: Wishes) -> WorkerPlan:
    """The plan of one worker command. Raises ``CommandError`` for a name the settings do not have."""
    mine = _worker(settings, wishes.name)
    assigned: Names = mine.assigned_users if wishes.users is None else wishes.users
    steal: Names | None = wishes.steal
    home: tuple[Target, ...]
    group = ""
    if wishes.users is None and wishes.name is None:
        home, steal = (Group(),), "*" if steal is None else steal
    elif assigned == EVERYBODY:
        home = (Everyone(),)
    elif wishes.users is None and wishes.name is not None:
        group, home = wishes.name, (Group(wishes.name),)
    else:
        home = tuple(User(user_id) for user_id in assigned)
    if steal is None:
        steal = mine.steal_targets
    queues = wishes.queues or mine.queues
    serve = Serve(queues=queues, home=home, steal=tuple(_targets(settings, steal)))
    single = [target.id for target in (*home, *serve.steal) if isinstance(target, User)]
    host, pid = socket.gethostname(), os.getpid()
    concurrency = wishes.concurrency or mine.concurrency or settings.concurrency
    try:
        about = {
            "name": wishes.name or "",
            "host": host,
            "pid": str(pid),
            "slots": str(concurrency),
            "serve": workers.pack(serve),
        }
    except Invalid as error:
        raise CommandError(str(error)) from None
    return WorkerPlan(
        name=wishes.name or f"{host}:{pid}",
        serve=serve,
        space=Space(settings.prefix, settings.partitions),
        group=group,
        assigned=tuple(assigned) if group else (),
        reach=tuple(sorted({users.group_of(user_id) for user_id in single})),
        is_watched=bool(settings.workers),
        processes=wishes.processes or mine.processes or settings.processes,
        concurrency=concurrency,
        burst=wishes.burst,
        max_tasks=wishes.max_tasks,
        grace_s=settings.grace if wishes.grace is None else wishes.grace,
        options=options_of(settings),
        about=about,
    )


def refuse_undeclared(queues: Iterable[str]) -> None:
    """Raise ``CommandError`` for a queue that no backend enqueues to: nothing would ever come from it."""
    declared = declared_queues()
    if declared is None:
        return
    for queue in queues:
        if queue not in declared:
            like = difflib.get_close_matches(queue, declared, 1)
            hint = f" Did you mean {like[0]!r}?" if like else ""
            raise CommandError(
                f"No backend in TASKS has a queue {queue!r}.{hint} They have: {', '.join(sorted(declared))}."
            )


def in_words(plan: WorkerPlan) -> str:
    """One line that tells whom a worker serves."""
    steal = f", then {_listed(plan.serve.steal)}" if plan.serve.steal else ""
    if any(isinstance(target, Everyone) for target in plan.serve.home):
        steal = ""
    many = "process" if plan.processes == 1 else "processes"
    end = " It ends when nothing is left." if plan.burst else ""
    return (
        f"Worker {plan.name} serves {_listed(plan.serve.home)}{steal} in {_queues(plan.serve.queues)}"
        f" with {plan.processes} {many} of {plan.concurrency} slots.{end}"
    )


def _worker(settings: Settings, name: str | None) -> WorkerSettings:
    if name is None:
        return WorkerSettings()
    found = settings.workers.get(name)
    if found is None:
        known = sorted(settings.workers)
        like = difflib.get_close_matches(name, known, 1)
        hint = f" Did you mean {like[0]!r}?" if like else ""
        names = f" It names: {', '.join(known)}." if known else " It names none."
        raise CommandError(f"FAIRQUE['WORKERS'] has no worker named {name!r}.{hint}{names}")
    # A worker that serves everybody has nobody left to steal for.
    return replace_steal(found) if found.assigned_users == EVERYBODY else found


def replace_steal(found: WorkerSettings) -> WorkerSettings:
    """The same worker without anybody to steal for."""
    return WorkerSettings(
        assigned_users=found.assigned_users,
        queues=found.queues,
        processes=found.processes,
        concurrency=found.concurrency,
    )


def _targets(settings: Settings, names: Names) -> Iterable[Target]:
    if names == EVERYBODY or EVERYBODY in names:
        yield Everyone()
        return
    for name in names:
        worker = settings.workers.get(name)
        if worker is None:
            yield User(name)
        else:
            yield Group() if worker.assigned_users == EVERYBODY else Group(name)


def _listed(targets: Iterable[Target]) -> str:
    words = []
    for target in targets:
        match target:
            case Everyone():
                words.append("everybody")
            case Group(name=name):
                words.append("everybody without a worker" if name == EVERYBODY else f"the users of {name}")
            case User(id=user_id):
                words.append(user_id if len(user_id) <= 40 else user_id[:37] + "...")
    return ", ".join(words) if len(words) <= 12 else f"{', '.join(words[:10])} and {len(words) - 10} more"


def _queues(queues: tuple[str, ...]) -> str:
    return ("queue " if len(queues) == 1 else "queues ") + ", ".join(queues)
