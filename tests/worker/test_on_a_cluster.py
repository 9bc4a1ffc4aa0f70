"""A worker command on a real cluster of three nodes, with users in eight partitions."""

from __future__ import annotations

import json

import pytest

from django_fairque.engine import enqueue, result
from django_fairque.engine.keys import Space
from django_fairque.engine.task import NewTask, State
from django_fairque.engine.wire.executor import Executor
from tests.cluster import Cluster, cluster

from .conftest import Site, wait_for

__all__ = ["cluster"]  # a fixture is found by its name
pytestmark = pytest.mark.processes


def test_a_worker_serves_all_partitions_wherever_they_lie(site: Site, cluster: Cluster) -> None:
    site.use(cluster.url)
    site.settings = {"PARTITIONS": 8}
    space = Space(site.prefix, 8)
    users = [f"user-{n}" for n in range(24)]
    assert {space.partition_of(user) for user in users} == set(range(8))
    ids: list[str] = []
    with Executor(cluster.url) as executor:

        def note(label: int, user: str) -> None:
            task_id = space.task_id(enqueue.new_ids(1)[0], user)
            payload = json.dumps([[label], {}]).encode()
            task = NewTask(task_id, "tests.worker.app.tasks.note", user, payload)
            executor.run(enqueue.enqueue(space.of_user(user), [task]))
            ids.append(task_id)

        for n, user in enumerate(users * 5):
            note(n, user)
        worker = site.start("--processes", "2", "--concurrency", "4")
        site.wait_for_lines("ran", len(users) * 5)
        # An idle worker hears the bell of every partition.
        for n, user in enumerate(users):
            note(1_000 + n, user)
        site.wait_for_lines("ran", len(users) * 6)

        def states() -> set[State | None]:
            found = executor.run_many([result.read(space.of_task(task_id), task_id) for task_id in ids])
            return {record.state if record else None for record in found}

        wait_for(lambda: states() == {State.FINISHED}, "all tasks finished")
        worker.process.terminate()
        assert worker.wait() == 0
    assert len(site.labels("ran")) == len(set(site.labels("ran"))) == len(ids)
