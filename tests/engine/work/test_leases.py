"""Leases are renewed whatever else goes wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from django_fairque.engine import claim, errors, recover, renew
from django_fairque.engine.keys import Keys, Space
from django_fairque.engine.options import Options
from django_fairque.engine.serve import Group, Serve
from django_fairque.engine.wire.command import Command
from django_fairque.engine.work import leases as module
from django_fairque.engine.work.leases import Leases
from django_fairque.engine.work.seat import Seat

from .conftest import House, Line


class PartlyAway(Line):
    """An executor that does not reach one partition."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.away: Keys | None = None

    def run(self, command: Command[Any]) -> Any:
        (reply,) = self.run_many([command])
        return reply

    def run_many(self, commands: Sequence[Command[Any]], *, return_errors: bool = False) -> list[Any]:
        replies = []
        for command in commands:
            if self.away and command.keys == (self.away.base,):
                if not return_errors:
                    raise errors.Unavailable("away")
                replies.append(errors.Unavailable("away"))
            else:
                replies += super().run_many([command], return_errors=return_errors)
        return replies


class Clock:
    """A clock that the test moves."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def reach(self, moment: float) -> None:
        """Let time pass until then."""
        self.now = max(self.now, moment)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the leases."""
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


@pytest.fixture
def space(keys: Keys) -> Space:
    """Two partitions."""
    return Space(keys.prefix, 2)


@pytest.fixture
def line(house: House) -> Iterator[PartlyAway]:
    """See ``PartlyAway``."""
    line = PartlyAway(house.url)
    yield line
    line.close()


def seated(house: House) -> Seat:
    """A process that has joined both partitions."""
    seat = Seat(1)
    for partition, keys in enumerate(house.space.all()):
        seat.workers[partition] = renew.new_worker("test")
        house.executor.run(renew.join(keys, seat.workers[partition]))
    return seat


def renewed(line: PartlyAway) -> int:
    return sum(one.script == "renew" for trip in line.trips for one in trip)


def test_a_healthy_partition_is_heard_although_another_is_away(
    house: House, line: PartlyAway, clock: Clock
) -> None:
    seat = seated(house)
    away, healthy = house.space.all()
    line.away = away
    leases = Leases(house.plan(), line)
    leases.owe({0: "somebody-dead"})
    house.executor.run(recover.recover(healthy, seat.workers[1]))

    clock.reach(leases.next_at)
    leases.tend([seat])  # the debt alone is due by now
    clock.now += house.plan().renew_s
    assert leases.tend([seat]) == [seat.workers[1]]
    assert leases.next_at <= clock.now + module.LAST_DELAY_S


def test_a_debt_that_cannot_be_paid_does_not_hold_up_renewals_nor_other_debts(
    house: House, line: PartlyAway, clock: Clock
) -> None:
    away, healthy = house.space.all()
    worker = renew.new_worker("dead")
    user_id = next(f"user-{n}" for n in range(99) if house.space.partition_of(f"user-{n}") == 1)
    house.executor.run(renew.join(healthy, worker))
    house.enqueue("task", user_id=user_id)
    assert house.executor.run(claim.claim(healthy, worker, 1, 1, Serve())).tasks
    line.away = away
    seat = Seat(1)
    seat.workers[1] = renew.new_worker("alive")
    house.executor.run(renew.join(healthy, seat.workers[1]))
    leases = Leases(house.plan(), line)
    leases.owe({0: "unreachable", 1: worker})

    for _ in range(20):
        clock.reach(leases.next_at)
        leases.tend([seat])
        if renewed(line):
            break

    assert renewed(line)
    assert house.executor.run(claim.claim(healthy, seat.workers[1], 1, 1, Serve())).tasks


@pytest.mark.parametrize("refusal", [errors.ScriptFailed("ERR unfit"), errors.Refused("NOPERM")])
def test_an_assignment_that_is_refused_is_dropped(
    house: House,
    line: PartlyAway,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    refusal: errors.FairqueError,
) -> None:
    plan = house.plan(group="mine", assigned=("acme",), options=Options())
    line.refuse = lambda command: command.script == "assign"
    line.refusal = refusal
    leases = Leases(plan, line)

    clock.reach(leases.next_at)
    leases.tend([])

    assert "does not assign them" in caplog.text
    assert leases.next_at > clock.now + module.LAST_DELAY_S


def test_assignments_that_do_not_get_through_are_tried_again(
    house: House, line: PartlyAway, clock: Clock
) -> None:
    users = [f"user-{n}" for n in range(20)]
    for user_id in users:
        house.enqueue("task", user_id=user_id)
    line.away = house.space.all()[0]
    leases = Leases(house.plan(group="mine", assigned=tuple(users)), line)
    leases.tend([])
    assert leases.next_at == clock.now + module.FIRST_DELAY_S

    line.away = None
    clock.reach(leases.next_at)
    leases.tend([])

    assert leases.next_at > clock.now + module.LAST_DELAY_S
    of_mine = Serve(home=(Group("mine"),), steal=())
    served = [
        task.user_id
        for partition, worker in seated(house).workers.items()
        for task in house.executor.run(
            claim.claim(house.space.all()[partition], worker, 1, 32, of_mine)
        ).tasks
    ]
    assert sorted(served) == sorted(users)
