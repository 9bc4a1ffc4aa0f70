"""The example as anybody would run it: its own settings, its own folder, its own processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from html import unescape
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, build_opener

PROJECT = Path(__file__).resolve().parents[2] / "example_project"
PATIENCE_SECONDS = 120


def environment(folder: Path) -> dict[str, str]:
    """What a process of the example sees: nothing of the tests' own settings."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FAIRQUE_", "DJANGO_", "DATABASE_", "EXAMPLE_"))
    }
    return {**inherited, "EXAMPLE_FOLDER": str(folder), "PYTHONUNBUFFERED": "1"}


def manage(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run one management command of the example to its end."""
    return subprocess.run(
        [sys.executable, PROJECT / "manage.py", *command],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


class Background:
    """A management command that goes on. Its output is read as it comes."""

    def __init__(self, folder: Path, *command: str, **variables: str) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, PROJECT / "manage.py", *command],
            env={**environment(folder), **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, name="output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match in its output, waiting for it to be written."""

        def found() -> re.Match[str] | None:
            return re.search(pattern, self.output)

        with self._news:
            self._news.wait_for(lambda: found() or self._ended, PATIENCE_SECONDS)
            match = found()
        assert match, f"{pattern!r} is not in the output:\n{self.output}"
        return match

    @property
    def output(self) -> str:
        """All it has written so far."""
        return "".join(self.lines)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(how)
        try:
            code = self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


class Visitor:
    """A browser without a screen: keeps cookies, follows redirects, sends the form's token along."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._cookies = CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self._cookies))

    def get(self, path: str) -> str:
        """A page's text."""
        return self._text(path, None)

    def post(self, path: str, **fields: str) -> str:
        """The page that a form leads to."""
        token = next((cookie.value for cookie in self._cookies if cookie.name == "csrftoken"), None)
        return self._text(path, urlencode({**fields, "csrfmiddlewaretoken": token or ""}).encode())

    def _text(self, path: str, data: bytes | None) -> str:
        try:
            with self._opener.open(urljoin(self._address, path), data, timeout=PATIENCE_SECONDS) as response:
                return unescape(response.read().decode())
        except HTTPError as error:
            with error:
                return f"{error.code}: {error.read().decode()}"
