"""``manage.py fairque_worker``: run tasks."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.utils import autoreload

from ... import site
from ...engine.wire.executor import Executor
from ...engine.work import child
from ...engine.work.link import Link
from ...engine.work.plan import WorkerPlan
from ...engine.work.supervisor import Ended, Supervisor
from ..code import Code
from ..serving import Names, Wishes, in_words, plan_of, refuse_undeclared

LEVELS = {0: logging.WARNING, 1: logging.INFO}


class Command(BaseCommand):
    """Runs tasks until SIGTERM or Ctrl-C; a second one does not wait for what runs."""

    help = (
        "Run tasks. Without a NAME the worker serves everybody: first the users that no worker is "
        "assigned to, then all others. SIGTERM and Ctrl-C let running tasks finish."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", metavar="NAME", help="a worker of FAIRQUE['WORKERS']")
        parser.add_argument("--processes", type=_positive, metavar="N", help="how many processes run tasks")
        parser.add_argument(
            "--concurrency", type=_positive, metavar="N", help="tasks at once in each process"
        )
        parser.add_argument(
            "--users", type=_names, metavar="a,b", help="serve these users first, or * for all"
        )
        parser.add_argument(
            "--steal", type=_names, metavar="c,d",
            help="when they have nothing, serve these: users, names of workers, or * for everybody",
        )  # fmt: skip
        parser.add_argument("--queues", type=_several, metavar="x,y", help="serve these queues")
        parser.add_argument(
            "--burst", action="store_true",
            help="end when nothing is ready, nothing runs and nothing becomes due within a second",
        )  # fmt: skip
        parser.add_argument(
            "--max-tasks", type=_positive, metavar="N", help="replace a process after it has run N tasks"
        )
        parser.add_argument(
            "--grace", type=_seconds, metavar="SECONDS", help="how long tasks may go on after a signal"
        )
        parser.add_argument(
            "--noreload", action="store_true", help="do not start anew when code changes (under DEBUG)"
        )

    def handle(self, *args: Any, **given: Any) -> None:
        here = site.current()
        wishes = Wishes(**{field: given[field] for field in Wishes.__dataclass_fields__})
        if given["name"] and given["users"] is not None:
            raise CommandError(
                f"NAME and --users exclude each other: {given['name']} has users of its own. "
                "Leave one of them out."
            )
        refuse_undeclared(given["queues"] or ())
        plan = plan_of(here.settings, here.users, wishes)
        _log_somewhere(given["verbosity"])
        executor = Executor(here.settings.url, **here.connection("worker"))
        self.stdout.write(f"{in_words(plan)}\nTasks come from {executor.address}.")
        self.stdout.flush()
        reload = django_settings.DEBUG and not given["noreload"] and not plan.burst
        # A child must not use what the parent has open.
        connections.close_all()
        here.close()
        supervisor = Supervisor(plan, _body(plan), executor, changed=Code().changed if reload else None)
        ended = supervisor.run()
        executor.close()
        if ended is Ended.CODE_CHANGED:
            self.stdout.flush()
            os.execv(sys.executable, autoreload.get_child_arguments())  # noqa: S606 - itself, once more
        self.stdout.write(f"Worker {plan.name} ended: {ended.value}.")


def _body(plan: WorkerPlan) -> Any:
    def body(link: Link) -> int:
        from ...runner import DjangoRunner

        here = site.current()
        executor = Executor(here.settings.url, **here.connection("worker"))
        return child.serve(plan, link, DjangoRunner(), executor)

    return body


def _log_somewhere(verbosity: int) -> None:
    """Show the worker's log where the project's settings send it nowhere."""
    log = logging.getLogger("django_fairque")
    if not log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s [%(process)d] %(message)s"))
        log.addHandler(handler)
        log.setLevel(LEVELS.get(verbosity, logging.DEBUG))


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a whole number") from None
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a number of seconds") from None
    if not 0 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("must be between 0 and 86400 seconds")
    return seconds


def _several(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError("there is an empty name in it")
    return names


def _names(text: str) -> Names:
    names = _several(text)
    if "*" in names and len(names) > 1:
        raise argparse.ArgumentTypeError("* stands for everybody and needs no company")
    return "*" if names == ("*",) else names
