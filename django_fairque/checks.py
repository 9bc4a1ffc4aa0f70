"""System checks: what is wrong in the settings, before any worker starts. They open no connection."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, Warning

from . import conf
from .conf import Settings
from .declared import declared_queues, fairque_backends
from .engine.keys import EVERYBODY
from .validate import read


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Every wrong value in ``FAIRQUE`` as an error with its id and a hint; then what is only doubtful."""
    found, problems = read(conf.raw())
    if problems:
        return [Error(problem.text, hint=problem.hint or None, id=problem.id) for problem in problems]
    return [*_undeclared_queues(found), *_misspelt_targets(found)]


def check_backend(**kwargs: Any) -> Iterable[CheckMessage]:
    """A warning when no backend in ``TASKS`` is ours: then nothing is enqueued here."""
    if not any(fairque_backends()):
        yield Warning(
            "django_fairque is installed, but no backend in TASKS uses it.",
            hint="TASKS = {'default': {'BACKEND': 'django_fairque.backend.FairqueBackend'}}",
            id="fairque.W001",
        )


def check_deployment(**kwargs: Any) -> Iterable[CheckMessage]:
    """A warning when a site in production keeps its tasks in a server of the project's own."""
    found, _ = read(conf.raw())
    if found.url.strip().lower().startswith("embedded:"):
        yield Warning(
            "FAIRQUE['URL'] is embedded://: the tasks are kept by a server of this machine only.",
            hint="In production name a Valkey or Redis server, such as 'redis://localhost:6379/0'.",
            id="fairque.W003",
        )


def _undeclared_queues(settings: Settings) -> Iterator[CheckMessage]:
    declared = declared_queues()
    if declared is None:
        return
    for name, worker in settings.workers.items():
        for queue in worker.queues:
            if queue not in declared:
                like = difflib.get_close_matches(queue, declared, 1)
                yield Warning(
                    f"FAIRQUE['WORKERS'][{name!r}]['queues'] names {queue!r}, "
                    "which is a queue of no backend in TASKS.",
                    hint=f"Did you mean {like[0]!r}?" if like else "Add it to the QUEUES of a backend.",
                    id="fairque.W002",
                )


def _misspelt_targets(settings: Settings) -> Iterator[CheckMessage]:
    """Any string may be a user, so only what looks like the name of a worker is worth a word."""
    known = {*settings.workers, *(() if callable(settings.users) else settings.users)}
    for worker in settings.workers.values():
        if worker.assigned_users != EVERYBODY:
            known.update(worker.assigned_users)
    for name, worker in settings.workers.items():
        for target in () if worker.steal_targets == EVERYBODY else worker.steal_targets:
            like = [] if target in known else difflib.get_close_matches(target, settings.workers, 1, 0.8)
            if like:
                yield Warning(
                    f"FAIRQUE['WORKERS'][{name!r}]['steal_targets'] names {target!r}, which is no worker "
                    "and is taken for a user.",
                    hint=f"Did you mean {like[0]!r}?",
                    id="fairque.W004",
                )
