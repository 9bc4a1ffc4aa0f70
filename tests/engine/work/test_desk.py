"""When a worker process asks a partition for tasks."""

from __future__ import annotations

from django_fairque.engine.work.desk import AT_ONCE, Desk

from .conftest import House


def test_a_claim_cut_short_at_its_limit_is_followed_by_another(house: House) -> None:
    plan = house.plan()
    desk = Desk(0, house.keys, "one-abc")
    house.executor.run(desk.join(plan))
    for _ in range(AT_ONCE):
        house.enqueue("task")

    first = house.executor.run(desk.claim(plan, AT_ONCE + 8, 0.0))
    desk.answered(first)
    assert (len(first.tasks), first.more, desk.is_hungry) == (AT_ONCE, False, True)

    desk.answered(house.executor.run(desk.claim(plan, 8, 0.0)))
    assert not desk.is_hungry
