"""What a claim costs does not grow, and what a task costs in commands is guarded. Counted, never timed."""

from __future__ import annotations

import pytest

from django_fairque.engine.enqueue import enqueue, new_ids
from django_fairque.engine.keys import Keys
from django_fairque.engine.policy import pause
from django_fairque.engine.settle import Verdict, settle
from django_fairque.engine.task import Finish, NewTask, Policy
from django_fairque.engine.wire.executor import Executor
from tests.fairness.world import World

from .conftest import Billed

# A claim runs at most CALL + TASK * n commands, whatever waits. All figures are what it takes now and a
# tenth more: whoever makes a task dearer changes a number here, and says why.
CALL, TASK = 11, 6.5
ENQUEUE_CALL, ENQUEUE_USER = 9, 3.3
DRAIN_BY_USERS = {1: 5.9, 16: 12.1, 1_000: 13.2}

FEW = pytest.param(2_000, id="2000")
EVERY_DAY = [pytest.param(50, id="50"), FEW]
FULL = pytest.param(100_000, id="100000", marks=pytest.mark.slow)


@pytest.fixture
def world(executor: Executor, keys: Keys) -> World:
    return World(executor.run, keys)  # type: ignore[arg-type]


def cost_of_claim(world: World, billed: Billed, limit: int) -> int:
    """The commands inside one claim call, in a quiet moment."""
    world.claimed(limit)
    with billed() as bill:
        tasks = world.claimed(limit)
    assert len(tasks) == limit
    return bill.inner


@pytest.mark.parametrize("idle", [*EVERY_DAY, FULL])
@pytest.mark.parametrize("limit", [1, 16])
def test_idle_users_cost_a_claim_nothing(world: World, billed: Billed, idle: int, limit: int):
    for first in range(0, idle, 500):
        for user in range(first, min(first + 500, idle)):
            world.add(f"idle-{user}")
        world.settled(world.claimed(500))
    for user in range(20):
        world.add(f"busy-{user}", 10)

    assert cost_of_claim(world, billed, limit) <= CALL + TASK * limit


@pytest.mark.parametrize("capped", [*EVERY_DAY, FULL])
@pytest.mark.parametrize("limit", [1, 16])
def test_users_at_their_cap_cost_a_claim_nothing(world: World, billed: Billed, capped: int, limit: int):
    for user in range(capped):
        world.add(f"capped-{user}", 2, policy=Policy(max_concurrency=1))
    while world.claimed(1_000, "others"):
        pass
    for user in range(20):
        world.add(f"busy-{user}", 10)

    assert cost_of_claim(world, billed, limit) <= CALL + TASK * limit


@pytest.mark.parametrize("held_up", [*EVERY_DAY, FULL])
def test_users_over_their_rate_and_paused_ones_cost_a_claim_nothing(
    world: World, billed: Billed, held_up: int
):
    for user in range(held_up):
        if user % 2:
            world.add(f"slow-{user}", 2, policy=Policy(rate_interval_ms=10_000_000))
        else:
            world.add(f"paused-{user}")
            world.run(pause(world.keys, f"paused-{user}", now_ms=world.now_ms))
    while world.claimed(1_000, "others"):
        pass
    for user in range(20):
        world.add(f"busy-{user}", 10)

    assert cost_of_claim(world, billed, 16) <= CALL + TASK * 16


@pytest.mark.parametrize("waiting", [*EVERY_DAY, pytest.param(20_000, id="20000"), FULL])
@pytest.mark.parametrize("limit", [1, 16])
def test_a_backlog_costs_a_claim_nothing(world: World, billed: Billed, waiting: int, limit: int):
    for user in range(20):
        world.add(f"busy-{user}", max(waiting // 20, 10))
    world.add("busy-1", waiting, run_at_ms=world.now_ms + 1_000_000)

    assert cost_of_claim(world, billed, limit) <= CALL + TASK * limit


@pytest.mark.parametrize("ready", [*EVERY_DAY, FULL])
@pytest.mark.parametrize("limit", [1, 16])
def test_ready_users_cost_a_claim_nothing(world: World, billed: Billed, ready: int, limit: int):
    for user in range(ready):
        world.add(f"busy-{user}")

    assert cost_of_claim(world, billed, limit) <= CALL + TASK * limit


def test_a_claim_that_finds_nothing_costs_the_same_in_an_empty_and_in_a_capped_system(
    world: World, billed: Billed
):
    world.claimed(16)
    with billed() as empty:
        world.claimed(16)

    for user in range(500):
        world.add(f"capped-{user}", 2, policy=Policy(max_concurrency=1))
    while world.claimed(500, "others"):
        pass
    world.claimed(16)
    with billed() as capped:
        world.claimed(16)

    assert capped.inner == empty.inner <= 5
    writes = {"hset", "zadd", "lpush", "hincrby", "set", "del", "zrem", "hdel"}
    assert not writes & capped.commands.keys()


@pytest.mark.parametrize("users", [1, 16, 1_000])
def test_what_an_enqueue_costs(world: World, billed: Billed, users: int):
    def tasks() -> list[NewTask]:
        return [
            NewTask(id, "tasks.noop", f"user-{n % users}", b'[[123456,"abc"],{}]')
            for n, id in enumerate(new_ids(1_000))
        ]

    world.run(enqueue(world.keys, tasks(), given=False, now_ms=world.now_ms))
    with billed() as bill:
        world.run(enqueue(world.keys, tasks(), given=False, now_ms=world.now_ms))

    assert bill.scripts == 1
    assert bill.inner <= 1_000 + ENQUEUE_CALL + ENQUEUE_USER * users

    with billed() as bill:
        world.run(enqueue(world.keys, tasks()[:1], given=False, now_ms=world.now_ms))
    assert bill.scripts == 1 and bill.inner <= ENQUEUE_CALL


@pytest.mark.parametrize("users", DRAIN_BY_USERS)
def test_what_a_drain_costs(world: World, billed: Billed, users: int):
    number, batch = 2_000, 16
    for user in range(users):
        world.add(f"user-{user}", number // users)
    world.joined("w")
    done = world.claimed(batch)

    with billed() as bill:
        while done:
            verdicts = [Verdict(task.id, task.call, Finish(b"1")) for task in done]
            world.run(settle(world.keys, "w", verdicts, now_ms=world.now_ms))
            done = world.claimed(batch)

    # Two scripts a batch, sent in one round trip by a worker.
    assert bill.scripts <= 2 * number / batch + 2
    assert bill.inner / number <= DRAIN_BY_USERS[users]
