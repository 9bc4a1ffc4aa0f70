"""``manage.py demo``: import the whole month with two worker processes, and check every figure."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import time
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError, call_command
from django.db import connections

from django_fairque.engine.wire import embedded

from ...demo import expected
from ...demo.report import table
from ...demo.stage import MARK, Child, StageError, stopping_on_signals
from ...demo.verdict import compare, disagreements, start_position
from ...demo.watch import watch
from ...reference import months
from ...uploads import start_import

LONE = "OO"
"""It has one flight in the whole month, and that is enqueued last."""


@dataclass
class Play:
    """What one run of the demo was asked for, and what it has running."""

    processes: int
    concurrency: int
    timeout: float
    limit: int | None
    port: int
    folder: Path = field(default_factory=lambda: Path(os.environ["EXAMPLE_FOLDER"]))
    children: list[Child] = field(default_factory=list)

    def start(self, *command: str, debug: bool = False) -> Child:
        """A management command beside this one; it is stopped at the end."""
        child = Child(self.folder, *command, debug=debug)
        self.children.append(child)
        return child

    def start_worker(self) -> Child:
        """The command that anybody would run, with the processes asked for."""
        return self.start(
            "fairque_worker", "--processes", str(self.processes), "--concurrency", str(self.concurrency)
        )

    def uploads(self) -> dict[str, Sequence[Sequence[str]]]:
        """The months to import, the airline with most rows first."""
        return {airline: rows[: self.limit] for airline, rows in months().items()}

    def stop(self) -> None:
        """Leave nothing running and nothing behind but the logs."""
        for child in reversed(self.children):
            child.stop()
        connections.close_all()
        embedded.stop(self.folder)
        shutil.rmtree(self.folder / ".fairque", ignore_errors=True)
        for database in self.folder.glob("db.sqlite3*"):
            database.unlink()
        # The logs may stay, but the folder is free for the next demo.
        (self.folder / MARK).write_text("", encoding="ascii")


class Command(BaseCommand):
    """The demo on the terminal, or with ``--web`` in the browser."""

    help = "Import a month of real flights with fair turns, and check that every row is stored once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Options; none is needed."""
        parser.add_argument(
            "--web", action="store_true", help="leave a site and a worker running until Ctrl-C"
        )
        parser.add_argument("--port", type=int, default=8000, help="the site's port, with --web (0 for any)")
        parser.add_argument("--limit", type=int, help="import at most so many rows of each airline")
        parser.add_argument("--processes", type=int, default=2, help="worker processes (default: 2)")
        parser.add_argument("--concurrency", type=int, default=4, help="tasks at once in each (default: 4)")
        parser.add_argument("--timeout", type=float, default=600, help="seconds until the demo gives up")

    def handle(self, *args: Any, **options: Any) -> None:
        """Play, and leave nothing running, whatever happens."""
        play = Play(
            processes=options["processes"],
            concurrency=options["concurrency"],
            timeout=options["timeout"],
            limit=options["limit"],
            port=options["port"],
        )
        try:
            with stopping_on_signals():
                self.stdout.write(f"Setting up a fresh database and a fresh Valkey in {play.folder}")
                call_command("migrate", verbosity=0)
                if options["web"]:
                    self._web(play)
                else:
                    self._import(play)
        except KeyboardInterrupt:
            self.stdout.write("\nStopping.")
            if not options["web"]:
                raise CommandError("Interrupted before the end.", returncode=130) from None
        except StageError as error:
            raise CommandError(str(error)) from error
        finally:
            play.stop()

    def _import(self, play: Play) -> None:
        uploads = play.uploads()
        order = {airline: len(rows) for airline, rows in uploads.items()}
        began = time.monotonic()
        for airline, rows in uploads.items():
            start_import(airline, rows)
        took = time.monotonic() - began
        flood = next(iter(order))
        self.stdout.write(
            f"Enqueued {sum(order.values()):,} tasks for {len(order)} airlines in {took:.2f} s: "
            f"{flood} first with {order[flood]:,}, {LONE} last with {order[LONE]}"
        )
        worker = play.start_worker()
        self.stdout.write(f"Started: manage.py {' '.join(worker.command)}")
        watch(self.stdout, [worker], play.timeout)
        worker.stop()

        comparison = compare(order)
        self.stdout.write("")
        for line in table(comparison):
            self.stdout.write(line)
        self._judge(play, order)

    def _judge(self, play: Play, order: Mapping[str, int]) -> None:
        problems = list(disagreements(expected.count(play.limit)))
        position = start_position(LONE)
        # Its turn comes in the first round, one task of each airline. A few tasks that were claimed later
        # may overtake it while its thread waits for a core; thousands were enqueued earlier.
        latest = len(order) + 10 * play.processes * play.concurrency
        last = sum(order.values())
        self.stdout.write(
            f"\n{LONE}'s flight was enqueued as number {last:,} and started as number {position}."
        )
        if position > latest:
            problems.append(f"{LONE} started as number {position}, must be among the first {latest}")
        if problems:
            raise CommandError("These figures disagree:\n  " + "\n  ".join(problems))
        self.stdout.write(
            "Every row was stored exactly once, and all sums agree with those counted straight from the file."
        )

    def _web(self, play: Play) -> None:
        password = secrets.token_urlsafe(12)
        get_user_model().objects.create_superuser("admin", password=password)
        port = play.port if play.port and _is_free(play.port) else _free_port()
        # Static files are served by Django's own server in debug mode only.
        pages = play.start("runserver", f"127.0.0.1:{port}", "--noreload", debug=True)
        worker = play.start_worker()
        _wait_for(port, pages)
        self.stdout.write(f"\n  The site:   http://127.0.0.1:{port}/")
        self.stdout.write(
            f"  The admin:  http://127.0.0.1:{port}/admin/   user: admin   password: {password}"
        )
        self.stdout.write("\nStart an import there and watch the bars. Ctrl-C ends everything.")
        self.stdout.flush()
        while True:
            pages.check()
            worker.check()
            time.sleep(0.5)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, site: Child, patience: float = 60.0) -> None:
    end = time.monotonic() + patience
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            site.check()
            if time.monotonic() > end:
                raise StageError(f"The site does not answer on port {port}. See {site.log}") from None
            time.sleep(0.1)
