"""Where the demo plays: a folder of its own, and the processes in it. Knows nothing of Django."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

PROJECT = Path(__file__).resolve().parent.parent.parent
MARK = "made-by-demo"
GRACE_SECONDS = 20
LOG_LINES_SHOWN = 25


class StageError(Exception):
    """The demo cannot go on; the message says why."""


def claim_folder(argv: Sequence[str]) -> Path:
    """An empty folder for this demo, and the environment that makes settings use it.

    Called before Django starts. Only a folder that a demo made is ever emptied.
    """
    name = ".demo-web" if "--web" in argv else ".demo"
    folder = Path(os.environ.get("EXAMPLE_DEMO_FOLDER") or PROJECT / name).resolve()
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).is_file():
            raise SystemExit(f"{folder} is not empty and was not made by a demo. Choose another folder.")
        if _is_alive((folder / MARK).read_text(encoding="ascii").strip()):
            raise SystemExit(f"Another demo is running in {folder}.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text(f"{os.getpid()}\n", encoding="ascii")
    os.environ["EXAMPLE_FOLDER"] = str(folder)
    os.environ.pop("DATABASE_URL", None)
    if "FAIRQUE_URL" in os.environ:
        # A server of yours: nothing of this run may mix with what is there.
        os.environ["FAIRQUE_PREFIX"] = f"fqdemo-{os.getpid()}"
    return folder


def _is_alive(pid: str) -> bool:
    if not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class Child:
    """A management command that runs beside the demo. What it prints goes to a log file."""

    def __init__(self, folder: Path, *command: str, debug: bool = False) -> None:
        self.command = command
        self.log = folder / f"{command[0]}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own manage.py with words of ours
                [sys.executable, str(PROJECT / "manage.py"), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "DJANGO_DEBUG": str(debug), "PYTHONUNBUFFERED": "1"},
                # Ctrl-C in the terminal reaches the demo only, which then stops its children in order.
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise what the log says if the command has ended by itself."""
        if self._process.poll() is not None:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            raise StageError(
                f"`manage.py {' '.join(self.command)}` ended with exit code {self._process.returncode}. "
                f"The end of {self.log}:\n" + "\n".join(lines[-LOG_LINES_SHOWN:])
            )

    def stop(self) -> int:
        """Ask it to finish, insist after a while. Returns its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                # Its own children are in its session: nothing may outlive the demo.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does, and Ctrl-C does so even where a shell has it ignored."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
