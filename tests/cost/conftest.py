"""What the server did: commands inside scripts, commands from clients, and memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import pytest

from django_fairque.engine.wire.executor import Executor
from tests.server import Server


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: full size; left out unless asked for with -m slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "slow" in config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@dataclass
class Bill:
    """How often each command ran."""

    commands: Counter[str] = field(default_factory=Counter)

    @property
    def scripts(self) -> int:
        """The commands that clients sent: each of ours is a script."""
        return self.commands["evalsha"]

    @property
    def inner(self) -> int:
        """The commands that ran inside of scripts."""
        return sum(number for name, number in self.commands.items() if name not in SENT_BY_CLIENTS)


SENT_BY_CLIENTS = ("evalsha", "eval", "info", "config|resetstat", "script|load", "hello", "client|setinfo")

Billed = Callable[[], AbstractContextManager[Bill]]


def _counted(server: Server) -> Counter[str]:
    stats = server.client.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): about["calls"] for name, about in stats.items()})


@pytest.fixture
def billed(server: Server) -> Billed:
    """``with billed() as bill:`` counts what the server runs meanwhile."""

    @contextmanager
    def counting() -> Iterator[Bill]:
        bill, before = Bill(), _counted(server)
        yield bill
        bill.commands = +(_counted(server) - before)

    return counting


@pytest.fixture
def executor(server: Server) -> Iterator[Executor]:
    """A connection; what a command costs does not depend on who sends it."""
    if not server.owned:
        pytest.skip("others use the server, so its counters are not ours alone")
    with Executor(server.url, role="producer") as opened:
        yield opened
