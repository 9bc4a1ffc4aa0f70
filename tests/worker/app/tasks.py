"""Tasks that write down what they do, one line each, into a file all processes append to."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time

from django_fairque import task

PATIENCE_S = 30


def write(*words: object) -> None:
    """Append a line. A short one to a file opened for appending is never torn."""
    fd = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, (" ".join(str(word) for word in words) + "\n").encode())
    os.close(fd)


def wait_for_gate() -> None:
    """Go on when the test has made the file it opens the gate with."""
    until = time.monotonic() + PATIENCE_S
    while not os.path.exists(os.environ["LEDGER"] + ".open"):
        if time.monotonic() > until:
            raise TimeoutError("the test never opened the gate")
        time.sleep(0.005)


@task
def note(label: str) -> None:
    """Say that it ran."""
    write("ran", label, os.getpid(), os.getppid())


@task
def slow(label: str) -> None:
    """Begin, wait at the gate, end."""
    write("began", label, os.getpid(), os.getppid())
    wait_for_gate()
    write("ended", label, os.getpid(), os.getppid())


@task
async def aslow(label: str) -> None:
    """The same on the event loop."""
    write("began", label, os.getpid(), os.getppid())
    while not os.path.exists(os.environ["LEDGER"] + ".open"):
        await asyncio.sleep(0.005)
    write("ended", label, os.getpid(), os.getppid())


@task
def deadly(label: str) -> None:
    """Take the whole process along."""
    write("began", label, os.getpid(), os.getppid())
    os.kill(os.getpid(), signal.SIGKILL)


@task
def deadly_once(label: str) -> None:
    """Take the process along the first time."""
    with open(os.environ["LEDGER"]) as ledger:
        seen = f"began {label} " in ledger.read()
    write("began", label, os.getpid(), os.getppid())
    if not seen:
        os.kill(os.getpid(), signal.SIGKILL)


@task
def hog(label: str, seconds: float) -> None:
    """Let no other thread of the process run for a while, as some C extensions do."""
    write("began", label, os.getpid(), os.getppid())
    # PyDLL, unlike CDLL, keeps the interpreter's lock during a call.
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
