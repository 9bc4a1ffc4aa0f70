"""How a worker process sleeps, and who is woken."""

from __future__ import annotations

import threading

import pytest

from django_fairque.engine import claim, errors, renew, stats
from django_fairque.engine.keys import EVERYBODY
from django_fairque.engine.serve import Everyone, Group, Serve, User
from django_fairque.engine.task import Policy, State
from django_fairque.engine.wire.bell import Bell
from django_fairque.engine.work.outbox import Outbox
from django_fairque.engine.work.pump import End
from django_fairque.engine.work.rest import Rest
from tests.server import Server

from .conftest import Gate, House


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


class TestABrokenLine:
    def test_a_ring_that_may_have_been_lost_counts_as_heard(self, house: House) -> None:
        ran = threading.Event()
        house.registry.register(ran.set, "task")
        with listen(house) as thief:
            house.wait_until_idle(1)
            running = house.start(idle_s=60.0)
            house.wait_until_idle(2)
            house.enqueue("task")
            assert thief.wait(10)
            house.wait_until_idle(1)

            (worker,) = blocked(house)
            house.executor.call("CLIENT", "KILL", "ID", worker)

            assert ran.wait(10)
        running.stop()

    def test_a_ring_that_a_busy_worker_may_have_lost_is_passed_on(self, house: House) -> None:
        house.enqueue("task")
        house.executor.call("DEL", house.keys.bell("default", EVERYBODY))  # the ring that gets lost
        rest, outbox = Rest(house.plan(idle_s=60.0), house.line), Outbox()
        assert not rest.sleep(outbox, 0.0, lambda: False)  # it listens, and goes on listening when it is busy
        house.wait_until_idle(1)
        (worker,) = blocked(house)
        house.executor.call("CLIENT", "KILL", "ID", worker)
        with pytest.raises(errors.Unavailable):
            rest.busy(outbox, 1, lambda: False)

        with listen(house) as other:
            rest.busy(outbox, 1, lambda: True)
            assert other.wait(10)
        rest.close()
        outbox.close()


def listen(house: House) -> Bell:
    """Somebody else who listens to the bell of everybody's tasks."""
    bell = Bell(house.executor, [house.keys])
    bell.arm([[house.keys.bell("default", EVERYBODY)]], 60.0)
    return bell


def blocked(house: House) -> list[str]:
    """The clients that listen to a bell."""
    clients = [
        dict(word.split("=", 1) for word in line.split())
        for line in house.executor.call("CLIENT", "LIST").decode().splitlines()
        if not line.startswith("txt:")
    ]
    return [client["id"] for client in clients if "b" in client["flags"]]


class TestForWhom:
    def test_a_ring_for_a_user_it_may_not_serve_is_passed_on(self, house: House, server: Server) -> None:
        other = House(server.url, house.space)
        ran = threading.Event()
        other.registry.register(ran.set, "task")
        # Idle for longest, so that it is the first to hear the bell, and it can make nothing of it.
        choosy = house.start(serve=Serve(home=(User("acme"),), steal=()), idle_s=60.0)
        house.wait_until_idle(1)
        open_to_all = other.start(idle_s=60.0)
        house.wait_until_idle(2)

        for _ in range(3):
            ran.clear()
            house.enqueue("task", user_id="globex")
            assert ran.wait(10)

        choosy.stop()
        open_to_all.stop()
        other.close()

    def test_a_choosy_worker_is_woken_for_its_own_user(self, house: House) -> None:
        ran = threading.Event()
        house.registry.register(ran.set, "task")
        running = house.start(serve=Serve(home=(User("acme"),), steal=()), idle_s=60.0)
        house.wait_until_idle(1)
        house.enqueue("task", user_id="globex")  # rings, too, and stays where it is

        for _ in range(3):
            ran.clear()
            house.enqueue("task", user_id="acme")
            assert ran.wait(10)
        running.stop()

    def test_its_own_group_comes_before_those_it_steals_for(self, house: House) -> None:
        order: list[str] = []
        house.registry.register(order.append, "task")
        for _ in range(3):
            house.enqueue("task", "stranger", user_id="stranger")
            house.enqueue("task", "own", user_id="own", group="mine")

        # Were nobody there for the stranger, it would be served as if it were at home here.
        neighbour = renew.new_worker("neighbour")
        house.executor.run(renew.join(house.keys, neighbour))
        house.executor.run(claim.claim(house.keys, neighbour, 1, 0, Serve()))

        serve = Serve(home=(Group("mine"),), steal=(Everyone(),))
        house.drain(serve=serve, group="mine", concurrency=1)

        assert order == ["own"] * 3 + ["stranger"] * 3

    def test_a_sleeping_worker_hears_the_bell_of_a_group_it_steals_for(self, house: House) -> None:
        ran = threading.Event()
        house.registry.register(ran.set, "task")
        serve = Serve(home=(Group("mine"),), steal=(Group("others"),))
        running = house.start(serve=serve, group="mine", idle_s=60.0)

        for group in ("others", "mine", "others"):
            ran.clear()
            house.enqueue("task", user_id=f"of-{group}", group=group)
            assert ran.wait(10)
        running.stop()
