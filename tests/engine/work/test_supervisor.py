"""What the parent process does for its children."""

from __future__ import annotations

from pathlib import Path

from django_fairque.engine import claim, renew
from django_fairque.engine.serve import Serve
from django_fairque.engine.task import State
from django_fairque.engine.work.child import DONE, OWING
from django_fairque.engine.work.link import Link
from django_fairque.engine.work.supervisor import Ended, Supervisor

from .conftest import House


def test_tasks_of_a_child_that_could_not_say_goodbye_go_back(house: House, tmp_path: Path) -> None:
    worker = renew.new_worker("test")
    house.executor.run(renew.join(house.keys, worker))
    task_id = house.enqueue("task")
    assert house.executor.run(claim.claim(house.keys, worker, 1, 1, Serve())).tasks
    been_here = tmp_path / "been-here"

    def body(link: Link) -> int:
        if been_here.exists():
            return DONE
        been_here.touch()
        link.send("joined", 0, worker)
        return OWING

    assert Supervisor(house.plan(), body, house.executor).run() is Ended.DRAINED

    assert house.read(task_id).state is State.QUEUED
