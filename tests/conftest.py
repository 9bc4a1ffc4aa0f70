"""The fixtures of every test: a real server, keys of one's own, and both executors."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from django_fairque.engine.keys import Keys
from django_fairque.engine.wire.async_executor import AsyncExecutor
from django_fairque.engine.wire.command import Command
from django_fairque.engine.wire.executor import Executor
from tests.not_checked import not_checked
from tests.server import SERVER, Server

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

T = TypeVar("T")

# The everyday run is the same every time; `--hypothesis-profile=deep` looks further.
_shared: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile("everyday", derandomize=True, database=None, **_shared)
settings.register_profile("deep", max_examples=2_000, **_shared)
settings.load_profile("everyday")

_serial = itertools.count(1)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Let a report travel between test processes even when a test logged what is no UTF-8."""
    return _encodable((yield))


def _encodable(data: Any) -> Any:
    if isinstance(data, str):
        return data.encode(errors="backslashreplace").decode()
    if isinstance(data, dict):
        return {_encodable(name): _encodable(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(map(_encodable, data))
    return data


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> Server:
    """The server of this test process; ``server.cli("HGETALL", key)`` looks at it from outside."""
    return pytestconfig.stash[SERVER]


@pytest.fixture(autouse=True)
def _emptied(server: Server) -> Iterator[None]:
    yield
    server.empty()


@pytest.fixture
def new_keys(server: Server) -> Callable[[], Keys]:
    """Call it for the keys of a partition that nothing else uses: each example of hypothesis needs some."""
    return lambda: Keys(prefix=f"{server.prefix}{next(_serial)}")


@pytest.fixture
def keys(new_keys: Callable[[], Keys]) -> Keys:
    """The keys of a partition that no other test uses."""
    return new_keys()


class Run(Protocol):
    """Runs commands through one of the executors and returns what they mean."""

    def __call__(self, command: Command[T]) -> T: ...

    def many(self, commands: Sequence[Command[Any]], *, return_errors: bool = False) -> list[Any]:
        """The same for several in one round trip."""


class _Blocking:
    def __init__(self, url: str) -> None:
        self._executor = Executor(url, role="producer")

    def __call__(self, command: Command[T]) -> T:
        return self._executor.run(command)

    def many(self, commands: Sequence[Command[Any]], *, return_errors: bool = False) -> list[Any]:
        return self._executor.run_many(commands, return_errors=return_errors)

    def close(self) -> None:
        self._executor.close()


class _Awaiting:
    def __init__(self, url: str) -> None:
        self._loop = asyncio.Runner()
        self._executor = self._loop.run(self._connected(url))

    @staticmethod
    async def _connected(url: str) -> AsyncExecutor:
        return AsyncExecutor(url, role="producer")

    def __call__(self, command: Command[T]) -> T:
        return self._loop.run(self._executor.run(command))

    def many(self, commands: Sequence[Command[Any]], *, return_errors: bool = False) -> list[Any]:
        return self._loop.run(self._executor.run_many(commands, return_errors=return_errors))

    def close(self) -> None:
        self._loop.run(self._executor.aclose())
        self._loop.close()


@pytest.fixture(params=[_Blocking, _Awaiting], ids=["sync", "async"])
def run(request: pytest.FixtureRequest, server: Server) -> Iterator[Run]:
    """``run(command)`` returns its value, once through each executor."""
    chosen = request.param(server.url)
    yield chosen
    chosen.close()


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Leave the databases' names alone: each test process has a folder of its own for them."""


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A headless Chromium. Without one the test says so loudly."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        not_checked("the pages in a real browser", "Chromium or its driver is not installed")

    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("chromium")
    for argument in (
        "--headless=new",
        "--no-sandbox",  # it refuses to run as root with one
        "--disable-dev-shm-usage",  # containers give little shared memory
        "--window-size=1280,900",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = Chrome(options=options, service=ChromeService(executable_path=driver))
    yield chrome
    chrome.quit()
