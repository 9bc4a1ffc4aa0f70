"""What a worker process claims, and how it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from django_fairque.engine import workers
from django_fairque.engine.keys import Space
from django_fairque.engine.task import State
from django_fairque.engine.wire.command import Command
from django_fairque.engine.work.pump import End

from .conftest import Gate, House


class TestSlots:
    def test_no_more_is_claimed_than_can_be_run(self, house: House, gate: Gate) -> None:
        house.registry.register(gate, "wait")
        tasks = [house.enqueue("wait") for _ in range(10)]

        running = house.start(concurrency=3)
        gate.wait_for(3)

        states = [house.read(task_id).state for task_id in tasks]
        assert (states.count(State.STARTED), states.count(State.QUEUED)) == (3, 7)
        gate.open()
        running.stop()

    def test_sync_and_async_tasks_share_the_slots(self, house: House) -> None:
        most, now, lock = 0, 0, threading.Lock()

        def enter() -> None:
            nonlocal most, now
            with lock:
                now += 1
                most = max(most, now)

        def leave() -> None:
            nonlocal now
            with lock:
                now -= 1

        def sync() -> None:
            enter()
            threading.Event().wait(0.002)
            leave()

        async def awaiting() -> None:
            enter()
            await asyncio.sleep(0.002)
            leave()

        house.registry.register(sync)
        house.registry.register(awaiting)
        for _ in range(20):
            house.enqueue("sync")
            house.enqueue("awaiting")

        house.drain(concurrency=5)

        assert 2 <= most <= 5
        assert house.count(State.FINISHED) == 40

    def test_a_quick_task_is_settled_while_slow_ones_go_on(self, house: House, gate: Gate) -> None:
        house.registry.register(gate, "slow")
        done = threading.Event()
        house.registry.register(done.set, "quick")
        for _ in range(7):
            house.enqueue("slow", user_id="patient")
        running = house.start(concurrency=8)
        gate.wait_for(7)

        task_id = house.enqueue("quick", user_id="hasty")
        assert done.wait(30)

        # Nothing else will ever end here, so this can only have been settled alone.
        done.clear()
        follower = house.enqueue("quick", user_id="hasty")
        assert done.wait(30)
        assert house.read(task_id).state is State.FINISHED
        gate.open()
        running.stop()
        assert house.read(follower).state is State.FINISHED

    def test_so_many_tasks_and_not_one_more(self, house: House) -> None:
        house.registry.register(lambda: None, "task")
        for _ in range(20):
            house.enqueue("task")

        assert house.drain(max_tasks=7, concurrency=4) is End.WORN
        assert (house.count(State.FINISHED), house.count(State.QUEUED)) == (7, 13)


class TestTheEnd:
    def test_a_stopping_worker_finishes_what_runs_and_claims_nothing_more(
        self, house: House, gate: Gate
    ) -> None:
        house.registry.register(gate, "slow")
        tasks = [house.enqueue("slow") for _ in range(5)]
        running = house.start(concurrency=2)
        gate.wait_for(2)

        running.pump.stop()
        gate.open()

        assert running.join() is End.STOPPED
        states = [house.read(task_id).state for task_id in tasks]
        assert (states.count(State.FINISHED), states.count(State.QUEUED)) == (2, 3)
        assert house.executor.run(workers.workers(house.keys)) == []

    def test_what_was_claimed_but_not_begun_is_handed_back(self, house: House) -> None:
        house.registry.register(lambda: None, "task")
        tasks = [house.enqueue("task") for _ in range(5)]
        pump = house.new_pump(concurrency=5)

        def stop_now(commands: Sequence[Command[Any]]) -> bool:
            if any(one.script in ("claim", "exchange") for one in commands):
                pump.stop()
            return False

        house.line.lose = stop_now

        assert pump.run() is End.STOPPED
        for task_id in tasks:
            record = house.read(task_id)
            assert (record.state, record.attempts, record.lost) == (State.QUEUED, 0, 0)

    def test_tasks_of_a_claim_that_was_never_answered_are_handed_back(self, house: House) -> None:
        house.registry.register(lambda: None, "task")
        tasks = [house.enqueue("task") for _ in range(5)]
        pump = house.new_pump(concurrency=5)

        def lose_and_stop(commands: Sequence[Command[Any]]) -> bool:
            if any(one.script in ("claim", "exchange") for one in commands):
                pump.stop()
                return True
            return False

        house.line.lose = lose_and_stop

        assert pump.run() is End.STOPPED
        assert {house.read(task_id).state for task_id in tasks} == {State.QUEUED}


class TestPartitions:
    @pytest.fixture
    def space(self, keys: Any) -> Space:
        return Space(keys.prefix, 4)

    def test_all_partitions_are_drained(self, house: House) -> None:
        house.registry.register(lambda: None, "task")
        tasks = [house.enqueue("task", user_id=f"user-{n % 13}") for n in range(130)]

        assert house.drain(concurrency=8) is End.DRAINED
        assert {house.read(task_id).state for task_id in tasks} == {State.FINISHED}
        assert len(house.joined) == 4

    def test_a_ring_in_any_partition_wakes_the_worker(self, house: House) -> None:
        ran = threading.Event()
        house.registry.register(ran.set, "task")
        running = house.start()
        for n in range(12):
            ran.clear()
            house.enqueue("task", user_id=f"user-{n}")
            assert ran.wait(10)
        running.stop()

    def test_users_take_turns_across_partitions(self, house: House) -> None:
        order: list[str] = []
        house.registry.register(order.append, "task")
        users = [f"user-{n}" for n in range(8)]
        assert len({house.space.partition_of(user) for user in users}) > 1
        for user_id in users:
            for _ in range(50):
                house.enqueue("task", user_id, user_id=user_id)

        house.drain(concurrency=4)

        # While everybody has tasks, nobody is far from its share.
        first = order[:200]
        shares = [first.count(user_id) for user_id in users]
        assert max(shares) - min(shares) <= 8, shares
