"""A server and a worker that only one measurement uses, and that end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.claim_scale import own_server

from .stamps import VARIABLE

ROOT = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Stage:
    """Where the server is, and a folder that goes when the measurement ends."""

    url: str
    folder: Path

    @property
    def stamps(self) -> Path:
        """The file of the tasks' stamps."""
        return self.folder / "stamps"

    @contextmanager
    def worker(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        """A ``fairque_worker`` command, asked to end on the way out."""
        command = [sys.executable, "-m", "django", "fairque_worker", *options]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def stage() -> Iterator[Stage]:
    """A new server, and Django set up in this process to use it."""
    import django

    # What was started must end, too, when this process is told to.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="fairque-bench-") as folder, own_server() as url:
        here = Stage(url, Path(folder))
        os.environ.update(
            {
                "DJANGO_SETTINGS_MODULE": "benchmarks.standalone.settings",
                "BENCH_URL": url,
                "BENCH_OUT": folder,
                VARIABLE: str(here.stamps),
            }
        )
        django.setup()
        yield here


def cpu_s(pid: int) -> float:
    """CPU seconds that a process and its children, also those that ended, used so far."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found = sum(map(int, fields[11:15])) / TICKS
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += sum(cpu_s(int(child)) for child in (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return 0.0
    return found
