"""What most stories begin with: tasks that wait, a worker that has a lease, a claim, a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_fairque.engine.claim import Claim, claim
from django_fairque.engine.enqueue import Enqueued, enqueue
from django_fairque.engine.keys import Keys
from django_fairque.engine.options import DEFAULTS, Options
from django_fairque.engine.renew import join
from django_fairque.engine.result import read
from django_fairque.engine.serve import Serve
from django_fairque.engine.settle import Settled, Verdict, settle
from django_fairque.engine.stats import Counts, stats
from django_fairque.engine.task import NewTask, Outcome, State, TaskRecord
from django_fairque.engine.workers import pack
from tests.conftest import Run
from tests.server import Server

NOW = 1_700_000_000_000
"""When the stories begin (ms)."""

EVERYBODY = Serve()


def new(id: str, **other: Any) -> NewTask:
    """A task of the user acme, unless told otherwise."""
    return NewTask(**{"id": id, "name": "send", "user_id": "acme", "payload": b"[[1],{}]", **other})


def enqueued(
    run: Run, keys: Keys, *ids: str, now_ms: int = NOW, options: Options = DEFAULTS, **other: Any
) -> Enqueued:
    """Enqueue tasks that differ in nothing but their ids."""
    return run(enqueue(keys, [new(id, **other) for id in ids], now_ms=now_ms, options=options))


def joined(
    run: Run,
    keys: Keys,
    worker: str = "w1",
    *,
    now_ms: int = NOW,
    group: str = "",
    serve: Serve = EVERYBODY,
    options: Options = DEFAULTS,
) -> str:
    """Give a worker its lease."""
    run(join(keys, worker, {"serve": pack(serve)}, group=group, now_ms=now_ms, options=options))
    return worker


def claimed(
    run: Run,
    keys: Keys,
    worker: str = "w1",
    call: int = 1,
    limit: int = 100,
    *,
    now_ms: int = NOW,
    serve: Serve = EVERYBODY,
    options: Options = DEFAULTS,
) -> Claim:
    """What a worker gets."""
    return run(claim(keys, worker, call, limit, serve, now_ms=now_ms, options=options))


def ids(claim: Claim) -> list[str]:
    """The tasks of a claim, in the order of their turns."""
    return [task.id for task in claim.tasks]


def settled(
    run: Run,
    keys: Keys,
    outcomes: Mapping[str, Outcome],
    worker: str = "w1",
    call: int = 1,
    *,
    now_ms: int = NOW,
    options: Options = DEFAULTS,
) -> list[Settled]:
    """Tell how a worker's attempts ended."""
    verdicts = [Verdict(id, call, outcome) for id, outcome in outcomes.items()]
    return run(settle(keys, worker, verdicts, now_ms=now_ms, options=options))


def record(run: Run, keys: Keys, id: str) -> TaskRecord:
    """What is stored of a task that must be there."""
    found = run(read(keys, id))
    assert found is not None
    return found


def state(run: Run, keys: Keys, id: str) -> State:
    """Where a task is in its life."""
    return record(run, keys, id).state


def counts(run: Run, keys: Keys, now_ms: int = NOW) -> Counts:
    """How much is in each state."""
    return run(stats(keys, now_ms=now_ms)).counts


def in_states(run: Run, keys: Keys, now_ms: int = NOW) -> dict[str, int]:
    """How many tasks are in each state, those that hold none left out."""
    return {state.value: n for state, n in counts(run, keys, now_ms).states.items() if n}


def names(server: Server, keys: Keys) -> set[str]:
    """Every key of the partition, without what they all begin with."""
    found = server.client.scan_iter(match=keys.base.replace("[", "\\[") + "*", count=1_000)
    return {name.decode().removeprefix(keys.base) for name in found}
