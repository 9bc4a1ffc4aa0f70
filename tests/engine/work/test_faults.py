"""Replies that get lost, leases that end, outcomes nobody wants."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from django_fairque.engine import recover
from django_fairque.engine.options import DEFAULTS, terms
from django_fairque.engine.task import State
from django_fairque.engine.wire.command import Command
from django_fairque.engine.work.pump import End
from tests.server import Server

from .conftest import Gate, House

CLAIMS = ("claim", "exchange")
SETTLES = ("settle", "exchange")


class TestFaults:
    def test_tasks_whose_claim_was_not_answered_are_run_once(self, house: House) -> None:
        runs: list[int] = []
        house.registry.register(runs.append, "task")
        for n in range(10):
            house.enqueue("task", n)
        lost = iter([True, True, False, True])

        def lose(commands: Sequence[Command[Any]]) -> bool:
            return any(one.script in CLAIMS for one in commands) and next(lost, False)

        house.line.lose = lose
        house.drain(concurrency=4)

        assert sorted(runs) == list(range(10))
        call = len(terms(DEFAULTS, "", None))
        calls = [one.args[call] for trip in house.line.trips for one in trip if one.script in CLAIMS]
        assert calls[:3] == [1, 1, 1]
        assert house.count(State.STARTED) == 0

    def test_an_outcome_whose_receipt_was_lost_counts_once(
        self, house: House, caplog: pytest.LogCaptureFixture
    ) -> None:
        house.registry.register(lambda: None, "task")
        tasks = [house.enqueue("task") for _ in range(5)]
        lost = iter([True, True])
        house.line.lose = lambda commands: (
            any(one.script in SETTLES for one in commands) and next(lost, False)
        )

        house.drain()

        assert {house.read(task_id).state for task_id in tasks} == {State.FINISHED}
        assert "came too late" not in caplog.text
        assert caplog.text.count("keeps trying") == 1

    def test_a_worker_taken_for_dead_goes_on_under_another_name(
        self, house: House, gate: Gate, caplog: pytest.LogCaptureFixture
    ) -> None:
        house.registry.register(gate, "slow")
        house.registry.register(lambda: None, "quick")
        slow = house.enqueue("slow")
        running = house.start(concurrency=2)
        gate.wait_for()
        (_, first) = house.joined[0]

        # Another worker takes its tasks back, and it runs the one it had a second time.
        assert house.executor.run(recover.recover(house.keys, first)) == 1
        running.pump.doubt(first)
        gate.wait_for()
        gate.open()
        quick = house.enqueue("quick")
        running.stop()

        (_, second) = house.joined[1]
        assert second != first
        assert "taken for dead" in caplog.text
        assert "after the lease of" in caplog.text
        record = house.read(slow)
        assert (record.state, record.lost) == (State.FINISHED, 1)
        assert house.read(quick).state in (State.FINISHED, State.QUEUED)

    def test_a_worker_that_died_before_it_knew_that_it_lives_joins_under_another_name(
        self, house: House
    ) -> None:
        ran = threading.Event()
        house.registry.register(ran.set, "task")
        house.enqueue("task")
        joins: list[Command[Any]] = []

        def lose(commands: Sequence[Command[Any]]) -> bool:
            new = [one for one in commands if one.script == "join"]
            joins.extend(new)
            if len(joins) != 1 or not new:
                return False
            house.executor.run(recover.recover(house.keys, str(new[0].args[1])))
            return True

        house.line.lose = lose
        running = house.start()

        assert ran.wait(10)
        running.stop()
        names = [one.args[1] for one in joins]
        assert names[0] == names[1] != names[2]
        assert house.joined == [(0, names[2])]

    def test_a_worker_that_cannot_say_goodbye_says_that_it_may_owe_tasks(self, house: House) -> None:
        house.line.lose = lambda commands: any(one.script == "leave" for one in commands)

        assert house.drain() is End.OWING

    def test_an_outcome_for_a_task_that_was_taken_away_is_only_logged(
        self, house: House, server: Server, gate: Gate, caplog: pytest.LogCaptureFixture
    ) -> None:
        house.registry.register(gate, "slow")
        task_id = house.enqueue("slow")
        running = house.start()
        gate.wait_for()
        (_, worker) = house.joined[0]
        server.cli("HDEL", house.keys.held(worker), task_id)

        gate.open()

        assert running.stop() is End.STOPPED
        assert f"The outcome of task {task_id} came too late" in caplog.text

    def test_an_outcome_the_server_refuses_does_not_hold_up_the_others(self, house: House) -> None:
        house.registry.register(lambda: "x", "task")
        tasks = [house.enqueue("task") for _ in range(4)]
        unfit, hopeless = tasks[1:3]

        def refuse(command: Command[Any]) -> bool:
            if command.script not in SETTLES:
                return False
            return hopeless in command.args or (unfit in command.args and "finish" in command.args)

        house.line.refuse = refuse
        house.drain(concurrency=4)

        states = [house.read(task_id).state for task_id in tasks]
        # The second was buried instead; the third was given up, and went back when the worker left.
        assert states == [State.FINISHED, State.FAILED, State.QUEUED, State.FINISHED]
