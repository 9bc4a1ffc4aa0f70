"""The pump: what a worker process claims, runs and settles, and what it does when something breaks."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from django_fairque.engine import recover, stats, workers
from django_fairque.engine.keys import Space
from django_fairque.engine.task import Claimed, Outcome, Policy, Retry, State
from django_fairque.engine.wire.command import Command
from django_fairque.engine.work.pump import End
from django_fairque.engine.work.registry import Registry, traceback_of
from tests.server import Server

from .conftest import Gate, House


class TestOutcomes:
    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_a_result_is_stored(self, house: House, kind: str) -> None:
        @house.registry.register
        def sync(a: int, b: int) -> int:
            return a + b

        async def awaiting(a: int, b: int) -> int:
            await asyncio.sleep(0)
            return a + b

        house.registry.register(awaiting, "async")
        task_id = house.enqueue(kind, 2, 3)

        assert house.drain() is End.DRAINED
        record = house.read(task_id)
        assert (record.state, record.result) == (State.FINISHED, b"5")

    @pytest.mark.parametrize("kind", ["sync", "async"])
    @pytest.mark.parametrize(
        "error",
        [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), MemoryError()],
        ids=lambda error: type(error).__name__,
    )  # fmt: skip
    def test_whatever_a_task_raises_ends_its_attempt_and_nothing_else(
        self, house: House, kind: str, error: BaseException
    ) -> None:
        def raises() -> None:
            raise error

        async def awaits() -> None:
            raise error

        house.registry.register(raises if kind == "sync" else awaits, "raises")
        house.registry.register(lambda: "well", "well")
        bad = [house.enqueue("raises") for _ in range(6)]
        good = house.enqueue("well")

        house.drain(concurrency=2)

        for task_id in bad:
            record = house.read(task_id)
            assert record.state is State.FAILED
            assert record.reason.startswith(type(error).__name__)
        assert house.read(good).state is State.FINISHED

    def test_what_a_task_leaves_behind_on_the_loop_cannot_end_it(self, house: House) -> None:
        async def leaves() -> None:
            async def later() -> None:
                raise SystemExit

            asyncio.ensure_future(later())  # noqa: RUF006 - this is the point
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        async def well() -> str:
            await asyncio.sleep(0)
            return "well"

        house.registry.register(leaves)
        house.registry.register(well)
        house.enqueue("leaves")
        after = [house.enqueue("well") for _ in range(3)]

        house.drain(concurrency=1)

        assert {house.read(task_id).state for task_id in after} == {State.FINISHED}

    def test_a_failed_task_is_tried_again_when_the_runner_says_so(self, house: House) -> None:
        def again(claimed: Claimed, error: BaseException, run_ms: float) -> Outcome:
            return Retry(delay_ms=1, error=traceback_of(error), run_ms=run_ms)

        house.registry = Registry(after=again)
        seen: list[int] = []

        @house.registry.register
        def third_time() -> int:
            seen.append(len(seen) + 1)
            if len(seen) < 3:
                raise ValueError(f"attempt {len(seen)}")
            return len(seen)

        task_id = house.enqueue("third_time")
        house.drain()

        record = house.read(task_id)
        assert (record.state, record.result, record.attempts) == (State.FINISHED, b"3", 2)
        assert [error.strip().splitlines()[-1] for error in record.errors] == [
            b"ValueError: attempt 1",
            b"ValueError: attempt 2",
        ]

    def test_a_runner_that_breaks_costs_one_task(self, house: House) -> None:
        class Breaks(Registry):
            def run(self, claimed: Claimed) -> Outcome:
                if claimed.name == "bad":
                    raise SystemExit("of the runner")
                return super().run(claimed)

        house.registry = Breaks()
        house.registry.register(lambda: None, "bad")
        house.registry.register(lambda: None, "good")
        bad, good = house.enqueue("bad"), house.enqueue("good")

        house.drain(concurrency=1)

        assert "The runner failed: SystemExit: of the runner" in house.read(bad).reason
        assert house.read(good).state is State.FINISHED

    def test_a_task_nobody_knows_is_parked_and_logged_once(
        self, house: House, caplog: pytest.LogCaptureFixture
    ) -> None:
        tasks = [house.enqueue("elsewhere") for _ in range(3)]

        assert house.drain() is End.DRAINED

        for task_id in tasks:
            record = house.read(task_id)
            assert (record.state, record.attempts) == (State.SCHEDULED, 0)
        assert caplog.text.count("is parked") == 1
        assert "elsewhere" in caplog.text

    def test_a_thread_that_is_interrupted_from_outside_is_replaced(self, house: House) -> None:
        class Interrupts(Registry):
            def run(self, claimed: Claimed) -> Outcome:
                outcome = super().run(claimed)
                # It is raised in this thread some instructions later, in what surrounds the runner.
                thread, error = ctypes.c_ulong(threading.get_ident()), ctypes.py_object(KeyboardInterrupt)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, error)
                return outcome

        house.registry = Interrupts()
        house.registry.register(lambda: None, "task")
        tasks = [house.enqueue("task") for _ in range(100)]

        house.drain(concurrency=2)

        assert {house.read(task_id).state for task_id in tasks} <= {State.FINISHED, State.FAILED}


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


class TestRest:
    def test_a_sleeping_worker_is_woken_by_the_bell(self, house: House) -> None:
        ran = threading.Event()
        house.registry.register(ran.set, "task")
        running = house.start()

        for _ in range(5):
            ran.clear()
            house.enqueue("task")
            assert ran.wait(10)  # far sooner than it would look by itself
        running.stop()

    def test_a_sleeping_worker_rises_when_something_is_due(self, house: House) -> None:
        ran = threading.Event()
        house.registry.register(ran.set, "task")
        house.enqueue("task", run_at_ms=house.executor.run(stats.stats(house.keys)).now_ms + 300)
        running = house.start()

        assert ran.wait(10)
        running.stop()

    def test_a_burst_waits_for_what_is_due_within_a_second_only(self, house: House) -> None:
        house.registry.register(lambda: None, "task")
        now_ms = house.executor.run(stats.stats(house.keys)).now_ms
        soon = house.enqueue("task", run_at_ms=now_ms + 500)
        later = house.enqueue("task", run_at_ms=now_ms + 3_600_000)

        assert house.drain() is End.DRAINED
        assert house.read(soon).state is State.FINISHED
        assert house.read(later).state is State.SCHEDULED

    def test_a_burst_serves_a_user_at_its_rate(self, house: House) -> None:
        house.registry.register(lambda: None, "task")
        slow = Policy(rate_interval_ms=30)
        tasks = [house.enqueue("task", policy=slow) for _ in range(4)]

        house.drain()

        assert {house.read(task_id).state for task_id in tasks} == {State.FINISHED}

    def test_a_task_waiting_at_its_users_cap_follows_the_one_that_ends(self, house: House) -> None:
        most, now = 0, 0

        @house.registry.register
        def task() -> None:
            nonlocal most, now
            now += 1
            most = max(most, now)
            now -= 1

        capped = Policy(max_concurrency=1)
        tasks = [house.enqueue("task", policy=capped) for _ in range(10)]

        house.drain(concurrency=8)

        assert most == 1
        assert {house.read(task_id).state for task_id in tasks} == {State.FINISHED}

    def test_a_ring_that_a_busy_worker_hears_goes_to_an_idle_one(
        self, house: House, server: Server, gate: Gate
    ) -> None:
        other = House(server.url, house.space)
        ran = threading.Event()
        for registry in (house.registry, other.registry):
            registry.register(ran.set, "quick")
        house.registry.register(gate, "slow")
        busy = house.start(concurrency=1, idle_s=60.0)
        house.enqueue("slow")
        gate.wait_for()
        idle = other.start(concurrency=1, idle_s=60.0)

        for _ in range(5):
            ran.clear()
            house.enqueue("quick")
            assert ran.wait(10)

        gate.open()
        busy.stop()
        idle.stop()
        other.close()


class TestFaults:
    def test_tasks_whose_claim_was_not_answered_are_run_once(self, house: House) -> None:
        runs: list[int] = []
        house.registry.register(runs.append, "task")
        for n in range(10):
            house.enqueue("task", n)
        lost = iter([True, True, False, True])

        def lose(commands: Sequence[Command[Any]]) -> bool:
            return any(one.script == "claim" for one in commands) and next(lost, False)

        house.line.lose = lose
        house.drain(concurrency=4)

        assert sorted(runs) == list(range(10))
        calls = [one.args[2] for trip in house.line.trips for one in trip if one.script == "claim"]
        assert calls[:3] == [1, 1, 1]
        assert house.count(State.STARTED) == 0

    def test_an_outcome_whose_receipt_was_lost_counts_once(
        self, house: House, caplog: pytest.LogCaptureFixture
    ) -> None:
        house.registry.register(lambda: None, "task")
        tasks = [house.enqueue("task") for _ in range(5)]
        lost = iter([True, True])
        house.line.lose = lambda commands: (
            any(one.script == "settle" for one in commands) and next(lost, False)
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
        assert (record.state, record.deliveries) == (State.FINISHED, 1)
        assert house.read(quick).state in (State.FINISHED, State.QUEUED)

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
            if command.script != "settle":
                return False
            return hopeless in command.args or (unfit in command.args and "finish" in command.args)

        house.line.refuse = refuse
        house.drain(concurrency=4)

        states = [house.read(task_id).state for task_id in tasks]
        # The second was buried instead; the third was given up, and went back when the worker left.
        assert states == [State.FINISHED, State.FAILED, State.QUEUED, State.FINISHED]


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
            if any(one.script == "claim" for one in commands):
                pump.stop()
            return False

        house.line.lose = stop_now

        assert pump.run() is End.STOPPED
        for task_id in tasks:
            record = house.read(task_id)
            assert (record.state, record.attempts, record.deliveries) == (State.QUEUED, 0, 0)

    def test_tasks_of_a_claim_that_was_never_answered_are_handed_back(self, house: House) -> None:
        house.registry.register(lambda: None, "task")
        tasks = [house.enqueue("task") for _ in range(5)]
        pump = house.new_pump(concurrency=5)

        def lose_and_stop(commands: Sequence[Command[Any]]) -> bool:
            if any(one.script == "claim" for one in commands):
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


class TestLog:
    def test_one_line_an_event_with_the_facts_in_extra(
        self, house: House, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "django_fairque.worker")
        house.registry.register(lambda: None, "good")
        house.registry.register(lambda: 1 / 0, "bad")
        good, bad = house.enqueue("good"), house.enqueue("bad")

        house.drain()

        said = {
            (record.getMessage().split(")")[1].split()[0].strip("."), record.task_id): record
            for record in caplog.records
            if hasattr(record, "task_id")
        }
        assert {("started", good), ("finished", good), ("started", bad), ("failed", bad)} == set(said)
        failed = said["failed", bad]
        assert failed.levelno == logging.ERROR
        assert "ZeroDivisionError: division by zero" in failed.getMessage()
        facts = {name: getattr(failed, name) for name in ("user_id", "task_name", "queue", "attempt")}
        assert facts == {"user_id": "acme", "task_name": "bad", "queue": "default", "attempt": 1}
        assert said["finished", good].run_ms >= 0
        assert said["finished", good].worker == house.joined[0][1]
