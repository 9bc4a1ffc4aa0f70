"""The demo, end to end, on a part of the month."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from tests.example.site import PATIENCE_SECONDS, PROJECT, Background, Visitor, environment

pytestmark = pytest.mark.processes


def demo(folder, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PROJECT / "manage.py", "demo", *options],
        env={**environment(folder), "EXAMPLE_DEMO_FOLDER": str(folder)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_every_row_is_stored_once_and_the_last_airline_does_not_wait(folder):
    done = demo(folder, "--limit", "25", "--timeout", "100")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every row was stored exactly once" in done.stdout
    # 14 airlines with 25 rows or more, and OO with one: 25 * 15 + 1.
    assert re.search(r"^ +all +376 +376 +0 ", done.stdout, re.MULTILINE)
    assert re.search(r"^OO .* 1 +1 +0 ", done.stdout, re.MULTILINE)
    assert "OO's flight was enqueued as number 376 and started as number " in done.stdout
    assert "\x1b" not in done.stdout, "control codes have no place in a pipe"
    assert not list(folder.glob("*.sqlite3*")), "the demo cleans up"
    assert not (folder / ".fairque").exists()


def test_a_demo_that_takes_too_long_says_how_far_it_came(folder):
    late = demo(folder, "--limit", "25", "--timeout", "0")

    assert late.returncode == 1
    assert "Not finished within 0 s" in late.stderr


def test_a_folder_with_things_of_ones_own_is_left_alone(folder):
    (folder / "thesis.txt").write_text("years of work")

    refused = demo(folder)

    assert refused.returncode == 1
    assert "not made by a demo" in refused.stderr
    assert (folder / "thesis.txt").read_text() == "years of work"


def test_ctrl_c_ends_the_demo_and_its_workers(folder):
    running = Background(folder, "demo", EXAMPLE_DEMO_FOLDER=str(folder))
    running.wait_for(r"Started: manage.py fairque_worker")

    assert running.end(signal.SIGINT) == 130
    assert "Interrupted" in running.output
    assert not (folder / ".fairque").exists()


def test_the_web_demo_prints_a_login_that_works(folder):
    running = Background(folder, "demo", "--web", "--port", "0", EXAMPLE_DEMO_FOLDER=str(folder))
    try:
        address = running.wait_for(r"The site: +(http://127\.0\.0\.1:\d+/)").group(1)
        password = running.wait_for(r"password: (\S+)").group(1)
        visitor = Visitor(address)
        visitor.get("admin/login/")
        page = visitor.post("admin/login/?next=/admin/", username="admin", password=password)
        assert "Uploads" in page
    finally:
        code = running.end(signal.SIGINT)
    assert code == 0
