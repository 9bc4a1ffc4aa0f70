"""A worker under DEBUG notices that its code was changed."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_fairque.management.code import Code

from .conftest import Site, wait_for


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a module that is loaded."""
    path = tmp_path / "being_written.py"
    path.write_text("answer = 41\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("being_written")
    yield path
    del sys.modules["being_written"]


def later(path: Path, text: str, by_s: int) -> None:
    path.write_text(text)
    now = path.stat().st_mtime
    os.utime(path, (now + by_s, now + by_s))


def test_a_newer_file_is_noticed_once(module: Path) -> None:
    code = Code()
    assert not code.changed()

    later(module, "answer = 42\n", 10)

    assert code.changed()
    assert not code.changed()


def test_a_file_that_cannot_be_compiled_is_waited_for(module: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = Code()

    later(module, "answer = \n", 10)
    assert not code.changed()
    assert "cannot be used" in caplog.text

    later(module, "answer = 42\n", 20)
    assert code.changed()


@pytest.mark.processes
def test_a_worker_that_is_told_to_stop_while_it_ends_for_new_code_does_not_start_anew(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "edited").mkdir()
    (tmp_path / "edited" / "__init__.py").touch()
    tasks = tmp_path / "edited" / "tasks.py"
    tasks.touch()
    site.environment = {"LEDGER_DEBUG": "1", "LEDGER_APPS": "edited", "PYTHONPATH": str(tmp_path)}
    worker = site.start()
    site.enqueue("slow", "one")
    site.wait_for_lines("began", 1)
    later(tasks, "answer = 42\n", 10)
    wait_for(lambda: "its code changed" in worker.said())

    os.kill(worker.pid, signal.SIGTERM)
    wait_for(lambda: "does not start anew" in worker.said())
    site.open_gate()

    assert worker.wait() == 0
    assert worker.said().count(" serves ") == 1


@pytest.mark.processes
def test_a_worker_starts_anew_and_obeys_signals_as_before(site: Site, tmp_path: Path) -> None:
    (tmp_path / "edited").mkdir()
    (tmp_path / "edited" / "__init__.py").touch()
    tasks = tmp_path / "edited" / "tasks.py"
    text = (
        "from django_fairque import task\n"
        "from tests.worker.app.tasks import write\n\n@task\ndef version():\n    write('version', {})\n"
    )
    tasks.write_text(text.format(1))
    site.environment = {"LEDGER_DEBUG": "1", "LEDGER_APPS": "edited", "PYTHONPATH": str(tmp_path)}
    worker = site.start()
    site.enqueue("version", module="edited.tasks")
    site.wait_for_lines("version", 1)

    later(tasks, text.format(2), 10)
    wait_for(lambda: worker.said().count(" serves ") == 2, "a second start")
    site.enqueue("version", module="edited.tasks")

    assert [line[1] for line in site.wait_for_lines("version", 2)] == ["1", "2"]
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait() == 0
