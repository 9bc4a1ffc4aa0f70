"""What becomes of tasks, whatever they do, and what the worker says of it."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import threading

import pytest

from django_fairque.engine.task import Bury, Claimed, Finish, Outcome, Retry, State
from django_fairque.engine.work.pump import End
from django_fairque.engine.work.registry import Registry, traceback_of

from .conftest import House


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
        [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()],
        ids=lambda error: type(error).__name__,
    )
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

    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_an_error_that_cannot_be_encoded_ends_its_attempt_and_nothing_else(
        self, house: House, kind: str
    ) -> None:
        def raises() -> None:
            raise ValueError("x \ud800")

        async def awaits() -> None:
            raise ValueError("x \ud800")

        house.registry.register(raises if kind == "sync" else awaits, "raises")
        house.registry.register(lambda: "well", "well")
        bad, good = house.enqueue("raises"), house.enqueue("well")

        house.drain()

        record = house.read(bad)
        assert (record.state, record.reason) == (State.FAILED, "ValueError: x \\ud800")
        assert house.read(good).state is State.FINISHED

    @pytest.mark.parametrize(
        ("outcome", "reason"),
        [
            (Bury("x \ud800"), "x \\ud800"),
            (Bury("x", error="x \ud800"), "The server refused its outcome"),  # type: ignore[arg-type]
            (Finish("x \ud800"), "The server refused its outcome"),  # type: ignore[arg-type]
            (Finish(None), "The server refused its outcome"),  # type: ignore[arg-type]
            (None, "The server refused its outcome"),
        ],
    )
    def test_an_outcome_that_cannot_be_sent_costs_its_task_only(
        self, house: House, outcome: Outcome, reason: str
    ) -> None:
        house.registry = Registry(after=lambda claimed, error, run_ms: outcome)

        @house.registry.register
        def raises() -> None:
            raise ValueError

        house.registry.register(lambda: "well", "well")
        good = [house.enqueue("well") for _ in range(3)]
        bad = house.enqueue("raises")
        good += [house.enqueue("well") for _ in range(3)]

        assert house.drain(concurrency=8) is End.DRAINED

        record = house.read(bad)
        assert record.state is State.FAILED
        assert record.reason.startswith(reason)
        assert {house.read(task_id).state for task_id in good} == {State.FINISHED}

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
        finished = said["finished", good]
        assert getattr(finished, "run_ms") >= 0  # noqa: B009 - unknown to the type of records
        assert getattr(finished, "worker") == house.joined[0][1]  # noqa: B009
