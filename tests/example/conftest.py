"""A folder for a site of one's own, and that site with a worker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_fairque.engine.wire import embedded
from tests.example.site import PROJECT, Background, manage

# The example is a project beside the package, not a part of it.
if str(PROJECT) not in sys.path:
    sys.path.append(str(PROJECT))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for one site; its Valkey is stopped in the end."""
    yield tmp_path
    embedded.stop(tmp_path)


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    """Where the example answers, with a worker behind it."""
    migrated = manage(folder, "migrate", "--verbosity=0")
    assert migrated.returncode == 0, migrated.stderr
    pages = Background(folder, "runserver", "127.0.0.1:0", "--noreload")
    worker = Background(folder, "fairque_worker", "--concurrency=2", "--noreload")
    try:
        worker.wait_for(r"serves everybody")
        yield pages.wait_for(r"http://127\.0\.0\.1:\d+/").group()
    finally:
        codes = worker.end(), pages.end()
    assert codes[0] == 0, worker.output
