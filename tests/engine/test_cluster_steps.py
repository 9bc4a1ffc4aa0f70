"""Every command on a real cluster of three nodes, in all of eight partitions."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import pytest

from django_fairque.engine.cancel import cancel
from django_fairque.engine.claim import claim, ring
from django_fairque.engine.enqueue import enqueue, new_ids
from django_fairque.engine.errors import Conflict, LeaseLost
from django_fairque.engine.exchange import exchange
from django_fairque.engine.explain import explain
from django_fairque.engine.keys import Space
from django_fairque.engine.policy import assign, override, pause, resume
from django_fairque.engine.recover import recover
from django_fairque.engine.renew import leave, renew
from django_fairque.engine.result import read
from django_fairque.engine.serve import Serve
from django_fairque.engine.settle import Verdict, settle
from django_fairque.engine.stats import stats
from django_fairque.engine.task import Bury, Finish, Outcome, Park, Policy, Priority, Release, Retry, State
from django_fairque.engine.wire.async_executor import AsyncExecutor
from django_fairque.engine.wire.command import Command
from django_fairque.engine.wire.executor import Executor
from django_fairque.engine.workers import workers
from tests.cluster import Cluster
from tests.cluster import cluster as cluster  # noqa: PLC0414 - a fixture

from .given import EVERYBODY, NOW, claimed, enqueued, ids, in_states, joined, new, settled, state

T = TypeVar("T")
PARTITIONS = 8
_serial = itertools.count(1)


class _Blocking:
    def __init__(self, url: str) -> None:
        self._executor = Executor(url)

    def __call__(self, command: Command[T]) -> T:
        return self._executor.run(command)

    def many(self, commands: Sequence[Command[Any]], *, return_errors: bool = False) -> list[Any]:
        return self._executor.run_many(commands, return_errors=return_errors)

    def close(self) -> None:
        self._executor.close()


class _Awaiting:
    def __init__(self, url: str) -> None:
        self._loop = asyncio.Runner()
        self._executor = AsyncExecutor(url)

    def __call__(self, command: Command[T]) -> T:
        return self._loop.run(self._executor.run(command))

    def many(self, commands: Sequence[Command[Any]], *, return_errors: bool = False) -> list[Any]:
        return self._loop.run(self._executor.run_many(commands, return_errors=return_errors))

    def close(self) -> None:
        self._loop.run(self._executor.aclose())
        self._loop.close()


@pytest.fixture(params=[_Blocking, _Awaiting], ids=["sync", "async"])
def run(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[_Blocking | _Awaiting]:
    chosen = request.param(cluster.url)
    yield chosen
    chosen.close()


@pytest.fixture
def space() -> Space:
    return Space(f"cl{next(_serial)}", PARTITIONS)


@pytest.fixture
def users(space: Space) -> list[str]:
    """A user of each partition, in their order; hostile ones, whose names must not break the tag."""
    found: dict[int, str] = {}
    for n in itertools.count():
        user = f"a:b{{{n}}}*\n🦜"
        found.setdefault(space.partition_of(user), user)
        if len(found) == PARTITIONS:
            return [found[partition] for partition in range(PARTITIONS)]
    raise AssertionError


def test_the_partitions_lie_on_all_nodes(cluster, space):
    assert {cluster.owner(keys.base).port for keys in space.all()} == {node.port for node in cluster.nodes}


def test_the_whole_life_of_tasks_passes_in_every_partition(run, space, users):
    for user, keys in zip(users, space.all(), strict=True):
        assert space.of_user(user) == keys
        tasks = [space.task_id(id, user) for id in "abcdefghij"]
        finished, long, retried, buried, parked, released, canceled, delayed, *rest = tasks
        mine = {"user_id": user, "payload": b"x" * 100}
        several = [new(id, **mine) for id in tasks if id != delayed]
        assert run(enqueue(keys, several, now_ms=NOW)).new == 9
        assert run(enqueue(keys, several, now_ms=NOW)).existing == tuple(task.id for task in several)
        enqueued(run, keys, delayed, **mine, run_at_ms=NOW + 1_000)
        with pytest.raises(Conflict):
            enqueued(run, keys, finished, user_id=user, payload=b"other")
        assert all(space.of_task(id) == keys for id in tasks)

        assert run(cancel(keys, canceled, now_ms=NOW)) is True
        joined(run, keys)
        assert ids(claimed(run, keys, limit=6)) == tasks[:6]
        assert ids(claimed(run, keys, limit=6)) == tasks[:6]
        outcomes: list[Outcome] = [
            Finish(b"1"),
            Finish(b"1" * 100),
            Retry(500, b"e"),
            Bury("no"),
            Park(500, "?"),
            Release(),
        ]
        assert settled(run, keys, dict(zip(tasks, outcomes, strict=False))) == ["ok"] * 6
        assert in_states(run, keys) == {
            "finished": 2, "failed": 1, "scheduled": 3, "queued": 3, "canceled": 1,
        }  # fmt: skip
        assert [state(run, keys, id) for id in (retried, buried, parked, released, long)] == [
            State.SCHEDULED, State.FAILED, State.SCHEDULED, State.QUEUED, State.FINISHED,
        ]  # fmt: skip

        left = claimed(run, keys, call=2, now_ms=NOW + 1_000)
        assert set(ids(left)) == {retried, parked, released, delayed, *rest}
        assert run(recover(keys, "w1", now_ms=NOW + 1_000)) == 6
        with pytest.raises(LeaseLost):
            claimed(run, keys, call=3)
        joined(run, keys, "w2", now_ms=NOW + 1_000)
        again = claimed(run, keys, "w2", now_ms=NOW + 1_000)
        settled(run, keys, {id: Finish() for id in ids(again)[:3]}, "w2")
        assert run(leave(keys, "w2", now_ms=NOW + 1_000)) == 3
        assert run(read(keys, finished)).result == b"1"


def test_policies_groups_and_numbers_pass_in_every_partition(run, space, users):
    for user, keys in zip(users, space.all(), strict=True):
        enqueued(run, keys, "a", "b", user_id=user, policy=Policy(rate_interval_ms=1_000))
        enqueued(run, keys, "c", user_id=user, queue="mail", priority=Priority.CRITICAL)
        joined(run, keys, group="web")
        both = Serve(queues=("default", "mail"))

        run(pause(keys, user, now_ms=NOW))
        assert claimed(run, keys, serve=both).tasks == []
        run(resume(keys, user, now_ms=NOW))
        run(override(keys, user, Policy(max_concurrency=1), now_ms=NOW))
        assert run(assign(keys, "web", [user], now_ms=NOW)) == 1
        # Everybody rang already; an empty bell would be rung.
        assert run(ring(keys, [("default", "web"), ("mail", "web")])) in (0, 1, 2)
        assert len(claimed(run, keys, call=2, serve=both).tasks) == 1
        assert run(renew(keys, ["w1"], now_ms=NOW)) == []
        assert [worker.id for worker in run(workers(keys, now_ms=NOW))] == ["w1"]
        standing = run(explain(keys, user, now_ms=NOW))
        assert (standing.group, standing.running, standing.at_cap) == ("web", 1, True)
        assert run(stats(keys, since=NOW // 60_000, now_ms=NOW)).minutes[0].started == 1


def test_commands_for_all_partitions_go_together(run, space, users):
    by_partition = list(zip(users, space.all(), strict=True))
    drawn = [[space.task_id(id, user) for id in new_ids(50)] for user in users]

    answers = run.many(
        [
            enqueue(keys, [new(id, user_id=user) for id in tasks], given=False, now_ms=NOW)
            for (user, keys), tasks in zip(by_partition, drawn, strict=True)
        ]
    )
    assert [answer.new for answer in answers] == [50] * PARTITIONS
    for keys in space.all():
        joined(run, keys)
    got = run.many([claim(keys, "w1", 1, 50, EVERYBODY, now_ms=NOW) for keys in space.all()])
    assert [ids(found) for found in got] == drawn
    first, second = (
        [[Verdict(id, 1, Finish()) for id in tasks[half]] for tasks in drawn]
        for half in (slice(25), slice(25, 50))
    )
    ends = run.many(
        [settle(keys, "w1", some, now_ms=NOW) for keys, some in zip(space.all(), first, strict=True)]
    )
    assert ends == [["ok"] * 25] * PARTITIONS
    ends = run.many(
        [
            exchange(keys, "w1", some, 2, 5, EVERYBODY, now_ms=NOW)
            for keys, some in zip(space.all(), second, strict=True)
        ]
    )
    assert [found.settled for found in ends] == [["ok"] * 25] * PARTITIONS
    assert [in_states(run, keys) for keys in space.all()] == [{"finished": 50}] * PARTITIONS


def test_every_key_lies_where_its_partition_belongs(run, cluster, space, users):
    for user in users:
        keys = space.of_user(user)
        enqueued(run, keys, space.task_id("a", user), user_id=user, queue="{1}", payload=b"x" * 100)

    for node in cluster.nodes:
        for key in node.cli("KEYS", f"{space.prefix}:*"):
            assert cluster.owner(key.decode()) is node
            assert any(key.startswith(keys.base.encode()) for keys in space.all())
