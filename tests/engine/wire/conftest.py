"""Tiny scripts, private servers, and both executors behind one face."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from django_fairque.engine.wire import scripts
from django_fairque.engine.wire.async_executor import AsyncExecutor
from django_fairque.engine.wire.command import Command
from django_fairque.engine.wire.executor import Executor
from tests.cluster import cluster
from tests.engine.wire.processes import Process

T = TypeVar("T")

__all__ = ["cluster"]  # a fixture: found by its name here

SCRIPTS = {
    "echo": "#!lua flags=allow-oom\n--@include same\nreturn same(ARGV)\n",
    "incr": "#!lua\nreturn redis.call('INCRBY', KEYS[1], ARGV[1])\n",
    "nested": "#!lua\n--@include outer\n--@include same\nreturn outer(ARGV[1])\n",
    "wrong": "#!lua\nreturn redis.call('INCR', 'a', 'b')\n",
    "broken": "#!lua\nreturn ((\n",
    "include/same": "local function same(value)\n    return value\nend\n",
    "include/outer": "--@include same\nlocal function outer(value)\n    return same(value)\nend\n",
}


@pytest.fixture(autouse=True)
def lua(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the scripts, with some that are easier to follow than the real ones."""
    folder = tmp_path / "lua"
    (folder / "include").mkdir(parents=True)
    for name, text in SCRIPTS.items():
        (folder / f"{name}.lua").write_text(text)
    monkeypatch.setattr(scripts, "_folder", folder)
    _forget()
    yield folder
    _forget()


def _forget() -> None:
    scripts.source.cache_clear()
    scripts.sha.cache_clear()


def echo(*words: str, key: str = "{0}") -> Command[list[bytes]]:
    return Command("echo", (key,), words, list)


def incr(key: str, by: int = 1) -> Command[int]:
    return Command("incr", (key,), (by,), int)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose sockets have names that are short enough."""
    folder = Path(tempfile.mkdtemp(prefix="fqw-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def valkey(short_path: Path) -> Iterator[Callable[..., Process]]:
    """``valkey("--requirepass", "x")`` starts a server of the test's own."""
    started: list[Process] = []

    def start(*arguments: object) -> Process:
        started.append(Process(*arguments, socket=short_path / f"{len(started)}.sock"))
        return started[-1]

    yield start
    for process in started:
        process.close()


class Awaiting:
    """The awaiting executor, waited for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._runner = asyncio.Runner()
        self.executor = AsyncExecutor(*args, **kwargs)

    def run(self, command: Command[T]) -> T:
        return self._runner.run(self.executor.run(command))

    def run_many(self, commands: Sequence[Command[Any]], *, return_errors: bool = False) -> list[Any]:
        return self._runner.run(self.executor.run_many(commands, return_errors=return_errors))

    def call(self, *args: Any, key: str | None = None) -> Any:
        return self._runner.run(self.executor.call(*args, key=key))

    def close(self) -> None:
        self._runner.run(self.executor.aclose())
        self._runner.close()


Connect = Callable[..., Executor | Awaiting]


@pytest.fixture(params=["blocking", "awaiting"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """``connect(url)`` gives an executor; each test runs with the blocking one and with the awaiting one."""
    opened: list[Executor | Awaiting] = []

    def start(url: str, **kwargs: Any) -> Executor | Awaiting:
        opened.append((Executor if request.param == "blocking" else Awaiting)(url, **kwargs))
        return opened[-1]

    yield start
    for executor in opened:
        executor.close()
