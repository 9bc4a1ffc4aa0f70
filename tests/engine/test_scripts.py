"""What holds for every script: its header, its flags, and what a full server does with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import django_fairque.engine
from django_fairque.engine.cancel import cancel
from django_fairque.engine.enqueue import enqueue
from django_fairque.engine.errors import ServerFull
from django_fairque.engine.explain import explain
from django_fairque.engine.policy import pause, resume
from django_fairque.engine.recover import recover
from django_fairque.engine.renew import leave, renew
from django_fairque.engine.stats import stats
from django_fairque.engine.task import Bury, Finish, Outcome, Retry
from django_fairque.engine.wire import scripts
from django_fairque.engine.workers import workers
from tests.not_checked import not_checked
from tests.server import Server

from .given import NOW, claimed, enqueued, ids, in_states, joined, names, new, record, settled

ENGINE = Path(django_fairque.engine.__file__).parent
SCRIPTS = sorted(path.stem for path in (ENGINE / "lua").glob("*.lua"))
INCLUDES = sorted(path.stem for path in (ENGINE / "lua" / "include").glob("*.lua"))

# A full server refuses these, so that it can drain itself by the others.
REFUSED_WHEN_FULL = {"enqueue"}
READERS = {"explain", "result", "stats", "workers"}


def text(name: str) -> str:
    return (ENGINE / "lua" / f"{name}.lua").read_text()


# The text


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_what_it_takes_and_what_it_answers(name):
    first, *lines = text(name).splitlines()
    header = "\n".join(lines[: next(n for n, line in enumerate(lines) if not line.startswith("--"))])

    assert first.startswith("#!lua")
    for part in ("KEYS   ", "ARGV   ", "Reply  "):
        assert f"-- {part}" in header


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_declares_the_flags_that_fit_what_it_does(name):
    shebang = text(name).splitlines()[0]

    if name in REFUSED_WHEN_FULL:
        assert shebang == "#!lua"
    elif name in READERS:
        assert "no-writes" in shebang
    else:
        assert shebang == "#!lua flags=allow-oom"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_with_its_includes_is_one_the_server_takes(server, name):
    assert server.cli("SCRIPT", "LOAD", scripts.source(name)).decode() == scripts.sha(name)


@pytest.mark.parametrize("name", [*SCRIPTS, *(f"include/{name}" for name in INCLUDES)])
def test_no_script_searches_all_keys_or_opens_a_payload(name):
    for word in ("'KEYS'", "'SCAN'", "cjson", "cmsgpack", "'SORT'", "'FLUSH"):
        assert word not in text(name)


def test_every_script_is_sent_by_a_step_and_every_include_is_used():
    code = "\n".join(path.read_text() for path in ENGINE.glob("*.py"))
    sent = set(re.findall(r'Command\(\s*"([a-z_]+)"', code))
    assert sent == set(SCRIPTS)

    every = "\n".join(path.read_text() for path in (ENGINE / "lua").rglob("*.lua"))
    assert {found.strip() for found in re.findall(r"--@include (\w+)", every)} == set(INCLUDES)


# A full server


@pytest.fixture
def full(server: Server) -> Iterator[Server]:
    """The server, when ``full.cli("CONFIG", "SET", "maxmemory", 1)`` was said to it, has no room."""
    if not server.owned:
        not_checked("what happens when the server is full", "the server is not the tests' own")
    yield server
    server.cli("CONFIG", "SET", "maxmemory", 0)


def fill(server: Server) -> None:
    server.cli("CONFIG", "SET", "maxmemory-policy", "noeviction")
    server.cli("CONFIG", "SET", "maxmemory", 1)


def test_a_full_server_takes_no_task_and_nothing_is_written(run, keys, full):
    enqueued(run, keys, "a")
    before = names(full, keys)
    user = full.cli("DUMP", keys.user("acme"))
    fill(full)

    others: tuple[dict[str, Any], ...] = (
        {},
        {"user_id": "new"},
        {"payload": b"x" * 1_000},
        {"run_at_ms": NOW + 1},
    )
    for task in (new("b", **other) for other in others):
        with pytest.raises(ServerFull):
            run(enqueue(keys, [task, new("f")], now_ms=NOW))

    assert names(full, keys) == before
    assert full.cli("DUMP", keys.user("acme")) == user


def test_a_full_server_drains_itself(run, keys, full):
    enqueued(run, keys, *"abcdefg", payload=b"x" * 100)
    fill(full)
    # A server that was started anew knows no script either.
    full.cli("SCRIPT", "FLUSH")

    joined(run, keys)
    assert ids(claimed(run, keys, limit=3)) == ["a", "b", "c"]
    outcomes: dict[str, Outcome] = {
        "a": Finish(b"y" * 100),
        "b": Retry(10, b"z" * 100),
        "c": Bury("no", b"e"),
    }
    assert settled(run, keys, outcomes) == ["ok"] * 3
    assert run(renew(keys, ["w1"], now_ms=NOW)) == []
    assert run(cancel(keys, "d", now_ms=NOW)) is True
    run(pause(keys, "acme", now_ms=NOW))
    run(resume(keys, "acme", now_ms=NOW))
    assert ids(claimed(run, keys, call=2, limit=1)) == ["e"]
    assert run(recover(keys, "w1", now_ms=NOW)) == 1
    joined(run, keys, "w2")
    assert ids(claimed(run, keys, "w2", now_ms=NOW + 10)) == ["e", "f", "g", "b"]
    assert run(leave(keys, "w2", now_ms=NOW + 10)) == 4
    assert run(stats(keys, now_ms=NOW + 10)).counts.queues == {"default": 4}
    assert run(workers(keys, now_ms=NOW)) == []
    assert run(explain(keys, "acme", now_ms=NOW)).queued == 4
    assert record(run, keys, "a").result == b"y" * 100
    assert in_states(run, keys) == {"queued": 4, "finished": 1, "failed": 1, "canceled": 1}


def test_a_server_that_has_room_again_takes_tasks_again(run, keys, full):
    fill(full)
    with pytest.raises(ServerFull):
        enqueued(run, keys, "a")

    full.cli("CONFIG", "SET", "maxmemory", 0)
    assert enqueued(run, keys, "a").new == 1
