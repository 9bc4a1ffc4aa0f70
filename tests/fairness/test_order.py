"""Inside a user's turn: critical first, then older and higher priority, first in first out among equals."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from django_fairque.engine.options import MINUTE_MS
from django_fairque.engine.renew import leave
from django_fairque.engine.task import NewTask, Priority, Release

from .conftest import MakeWorld
from .names import user_ids


def drained(w, limit: int = 100) -> list[str]:
    """The ids of all that waits, in the order in which it is served."""
    ids: list[str] = []
    while tasks := w.claimed(limit):
        ids += [task.id for task in tasks]
    return ids


@settings(max_examples=8)
@given(order=st.permutations(range(-100, 101)))
def test_all_of_djangos_priorities_keep_their_order(world: MakeWorld, order: list[int]):
    w = world()
    w.add_all([NewTask(f"p{priority}", "t", "a", b"[]", priority=priority) for priority in order])

    assert drained(w, 37) == [f"p{priority}" for priority in range(100, -101, -1)]


@settings(max_examples=8)
@given(data=st.data())
def test_equal_priorities_are_first_in_first_out(world: MakeWorld, data: st.DataObject):
    w = world()
    user = data.draw(user_ids)
    priority = data.draw(st.sampled_from((-100, 0, 1, 100, Priority.CRITICAL)))
    # Ids that a server would sort the other way round, all in the same microsecond, and several functions.
    count = iter(range(10_000, 0, -1))
    ids: list[str] = []
    for size in data.draw(st.lists(st.integers(1, 400), min_size=2, max_size=5)):
        part = [
            NewTask(f"t{next(count):05}", f"f{n % 3}", user, b"[]", priority=priority) for n in range(size)
        ]
        w.add_all(part)
        ids += [task.id for task in part]

    assert drained(w) == ids


@settings(max_examples=8)
@given(data=st.data())
def test_critical_tasks_come_first_and_in_order(world: MakeWorld, data: st.DataObject):
    w = world()
    critical, normal = [], []
    for _ in range(6):
        normal += w.add("a", data.draw(st.integers(0, 5)), priority=100) if data.draw(st.booleans()) else []
        critical += w.add("a", data.draw(st.integers(1, 5)), priority=Priority.CRITICAL)
        w.passes(data.draw(st.integers(0, 100_000)))

    assert drained(w, data.draw(st.integers(1, 9))) == critical + normal


def test_critical_tasks_of_one_user_cost_its_own_turns(world: MakeWorld):
    w = world()
    w.add("loud", 50, priority=Priority.CRITICAL)
    w.add("quiet", 50)

    assert w.served(50).count("quiet") == 25


@settings(max_examples=10)
@given(data=st.data())
def test_tasks_that_come_back_take_their_old_places(world: MakeWorld, data: st.DataObject):
    w = world()
    ids = w.add("a", 7, priority=Priority.CRITICAL) + w.add("a", 7)
    how = data.draw(st.sampled_from(("leave", "die", "release")))

    taken = w.claimed(data.draw(st.integers(1, 14)), "first")
    if how == "leave":
        w.run(leave(w.keys, "first", now_ms=w.now_ms))
    elif how == "die":
        w.killed("first")
    else:
        some = data.draw(st.permutations(taken))
        w.settled(some, Release(), "first")

    assert drained(w) == ids


def test_one_step_of_priority_is_worth_a_minute_of_age(world: MakeWorld):
    w = world()
    (low,) = w.add("a", priority=1)
    w.passes(4 * MINUTE_MS - 1)
    (early,) = w.add("a", priority=5)
    w.passes(2)
    (late,) = w.add("a", priority=5)

    assert drained(w) == [early, low, late]


@settings(max_examples=4)
@given(ahead=st.integers(0, 40))
def test_a_low_priority_does_not_starve_under_a_stream_of_high_ones(world: MakeWorld, ahead: int):
    w = world()
    w.add("a", ahead, priority=5) if ahead else None
    begun = w.now_ms
    (low,) = w.add("a", priority=1)

    # The worker serves one task in five seconds; as many come, so the high ones never run out.
    while True:
        w.add("a", priority=5)
        tasks = w.claimed()
        w.settled(tasks)
        if tasks[0].id == low:
            break
        w.passes(5_000)
        assert w.now_ms - begun < 10 * MINUTE_MS

    assert w.now_ms - begun <= 4 * MINUTE_MS + (ahead + 2) * 5_000


@settings(max_examples=8)
@given(data=st.data())
def test_scheduled_tasks_come_in_order_of_their_due_time(world: MakeWorld, data: st.DataObject):
    w = world()
    expected: list[tuple[int, int, str]] = []
    for _ in range(data.draw(st.integers(2, 12))):
        due = w.now_ms + data.draw(st.integers(1, 5))
        for id in w.add("a", data.draw(st.integers(1, 20)), run_at_ms=due):
            expected.append((due, len(expected), id))
        if data.draw(st.booleans()):
            assert not w.claimed(5)
    w.passes(5)

    assert drained(w, 20) == [id for *_, id in sorted(expected)]


def test_tasks_due_in_one_millisecond_keep_their_order_whenever_they_were_enqueued(world: MakeWorld):
    w = world()
    due = w.now_ms + 60_000
    ids: list[str] = []
    for size in (300, 1, 299):
        ids += w.add("a", size, run_at_ms=due)
        w.passes(1_000)
    w.passes(60_000)

    assert drained(w, 64) == ids


def test_scheduled_tasks_wait_for_their_time_and_then_stand_behind_what_waited(world: MakeWorld):
    w = world()
    later = w.add("a", 2, run_at_ms=w.now_ms + 500)
    now = w.add("a", 2)
    critical_later = w.add("a", run_at_ms=w.now_ms + 500, priority=Priority.CRITICAL)
    critical = w.add("a", priority=Priority.CRITICAL)
    w.passes(500)

    assert drained(w) == critical + critical_later + now + later


def test_a_scheduled_task_counts_its_age_from_when_it_was_due(world: MakeWorld):
    w = world()
    (due,) = w.add("a", run_at_ms=w.now_ms + 500)
    (high_due,) = w.add("a", run_at_ms=w.now_ms + 400 + MINUTE_MS, priority=1)
    w.passes(600)
    (after,) = w.add("a")
    w.passes(MINUTE_MS)

    assert drained(w) == [high_due, due, after]
