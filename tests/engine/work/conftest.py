"""A worker process of the engine inside the test's own process, against the real server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from django_fairque.engine import enqueue, errors, result, stats
from django_fairque.engine.keys import Keys, Space
from django_fairque.engine.options import Options
from django_fairque.engine.serve import Serve
from django_fairque.engine.task import NewTask, State, TaskRecord
from django_fairque.engine.wire.command import Command
from django_fairque.engine.wire.executor import Executor
from django_fairque.engine.work.outbox import Outbox
from django_fairque.engine.work.plan import WorkerPlan
from django_fairque.engine.work.pump import End, Pump
from django_fairque.engine.work.registry import Registry
from django_fairque.engine.work.rest import Rest
from tests.server import Server

# A test that waits this long for an event has failed.
PATIENCE_S = 30


class Line(Executor):
    """An executor whose replies get lost on the way when a test wants that."""

    def __init__(self, url: str) -> None:
        super().__init__(url, role="worker")
        self.lose: Callable[[Sequence[Command[Any]]], bool] = lambda commands: False
        self.refuse: Callable[[Command[Any]], bool] = lambda command: False
        self.refusal: errors.FairqueError = errors.ScriptFailed("ERR unfit")
        self.trips: list[list[Command[Any]]] = []

    def run_many(self, commands: Sequence[Command[Any]], *, return_errors: bool = False) -> list[Any]:
        self.trips.append(list(commands))
        refused = [self.refuse(command) for command in commands]
        sent = [command for command, is_refused in zip(commands, refused, strict=True) if not is_refused]
        answers = iter(super().run_many(sent, return_errors=return_errors) if sent else [])
        replies = [self.refusal if one else next(answers) for one in refused]
        if self.lose(commands):
            raise errors.Unavailable("The reply was lost.")
        return replies


class House:
    """Enqueues tasks, runs a worker, and looks at what became of the tasks."""

    def __init__(self, url: str, space: Space) -> None:
        self.url = url
        self.space = space
        self.keys = space.all()[0]
        self.executor = Executor(url)
        self.line = Line(url)
        self.registry = Registry()
        self.joined: list[tuple[int, str]] = []
        self.pump: Pump | None = None
        self._closing: list[Callable[[], object]] = [self.executor.close, self.line.close]

    def enqueue(self, name: str, *args: Any, user_id: str = "acme", **fields: Any) -> str:
        """Take one task in; its arguments as JSON."""
        keys = self.space.of_user(user_id)
        task_id = self.space.task_id(enqueue.new_ids(1)[0], user_id)
        payload = json.dumps([args, {}]).encode()
        self.executor.run(enqueue.enqueue(keys, [NewTask(task_id, name, user_id, payload, **fields)]))
        return task_id

    def read(self, task_id: str) -> TaskRecord:
        """The task as it is stored."""
        record = self.executor.run(result.read(self.space.of_task(task_id), task_id))
        assert record is not None
        return record

    def count(self, state: State) -> int:
        """How many tasks are in a state."""
        return self.executor.run(stats.stats(self.keys)).counts.states[state]

    def wait_until_idle(self, workers: int) -> None:
        """Wait until so many workers sleep by their bells."""
        until = time.monotonic() + PATIENCE_S
        while int(self.executor.server("clients")["blocked_clients"]) != workers:
            assert time.monotonic() < until
            time.sleep(0.001)

    def plan(self, **changes: Any) -> WorkerPlan:
        """A plan for everybody's tasks that ends when there are none."""
        plan = WorkerPlan(name="test", serve=Serve(), space=self.space, burst=True, concurrency=4)
        return replace(plan, **changes)

    def new_pump(self, **changes: Any) -> Pump:
        """A pump that has not been started."""
        outbox = Outbox()
        plan = self.plan(**changes)
        rest = Rest(plan, self.line)
        self._closing += [rest.close, outbox.close]
        self.pump = Pump(plan, self.registry, self.line, rest, outbox, self._on_joined)
        return self.pump

    def drain(self, **changes: Any) -> End:
        """Run a worker until nothing is left."""
        return self.new_pump(**changes).run()

    def start(self, **changes: Any) -> Running:
        """Run a worker in a thread, until ``stop``."""
        return Running(self.new_pump(**{"burst": False, **changes}))

    def _on_joined(self, partition: int, worker: str) -> None:
        self.joined.append((partition, worker))

    def close(self) -> None:
        for close in self._closing:
            close()


class Running:
    """A pump that runs in a thread."""

    def __init__(self, pump: Pump) -> None:
        self.pump = pump
        self.end: End | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.end = self.pump.run()

    def join(self) -> End:
        """Wait until it ended by itself."""
        self._thread.join(PATIENCE_S)
        assert self.end is not None
        return self.end

    def stop(self) -> End:
        """Tell it to stop, and wait."""
        self.pump.stop()
        return self.join()


@pytest.fixture
def space(keys: Keys) -> Space:
    """One partition."""
    return Space(keys.prefix, 1)


@pytest.fixture
def house(server: Server, space: Space) -> Iterator[House]:
    """See ``House``."""
    house = House(server.url, space)
    yield house
    if house.pump:
        house.pump.stop()
    house.close()


@pytest.fixture
def options() -> Options:
    """How the queue behaves by default."""
    return Options()


class Gate:
    """Something a task waits at until the test opens it."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._arrived = threading.Semaphore(0)

    def __call__(self, *_: Any) -> None:
        self._arrived.release()
        assert self._open.wait(PATIENCE_S)

    def open(self) -> None:
        """Let all through, now and later."""
        self._open.set()

    def wait_for(self, count: int = 1) -> None:
        """Wait until so many have arrived."""
        for _ in range(count):
            assert self._arrived.acquire(timeout=PATIENCE_S)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """See ``Gate``."""
    gate = Gate()
    yield gate
    gate.open()
