from __future__ import annotations

import pytest

from django_fairque.engine.enqueue import CHUNK, Enqueued, enqueue, new_ids
from django_fairque.engine.errors import Invalid, QueueFull
from django_fairque.engine.result import read
from django_fairque.engine.stats import stats
from django_fairque.engine.task import Policy, Priority, State

from .given import NOW, claimed, enqueued, ids, in_states, joined, names, new, record, state

# One and many


def test_a_task_waits_as_it_was_given(run, keys):
    run(enqueue(keys, [new("a", priority=4, queue="mail")], now_ms=NOW))

    found = record(run, keys, "a")
    assert (found.name, found.user_id, found.queue, found.priority) == ("send", "acme", "mail", 4)
    assert (found.payload, found.state, found.enqueued_ms) == (b"[[1],{}]", State.QUEUED, NOW)
    assert (found.attempts, found.lost, found.run_at_ms, found.result) == (0, 0, None, None)


def test_many_tasks_are_taken_in_one_call_and_keep_their_order(run, keys):
    many = new_ids(CHUNK)

    assert run(enqueue(keys, [new(id) for id in many], given=False, now_ms=NOW)) == Enqueued(CHUNK)

    joined(run, keys)
    assert ids(claimed(run, keys, limit=CHUNK)) == many


def test_tasks_of_several_users_and_queues_go_in_together(run, keys):
    several = [new("a"), new("b", user_id="globex"), new("c", queue="mail"), new("d", name="other")]

    assert run(enqueue(keys, several, now_ms=NOW)).new == 4
    assert run(stats(keys, now_ms=NOW)).counts.queues == {"default": 3, "mail": 1}


@pytest.mark.parametrize("count", [0, CHUNK + 1])
def test_a_call_with_no_task_or_too_many_is_refused(server, keys, count):
    with pytest.raises(Invalid, match="tasks"):
        enqueue(keys, [new(str(n)) for n in range(count)])

    assert not names(server, keys)


def test_ids_are_drawn_so_that_none_comes_twice():
    drawn = new_ids(10_000)

    assert len(set(drawn)) == 10_000
    assert all(len(id) == 20 and id.isalnum() and id.isascii() for id in drawn)


def test_an_enqueue_rings_one_bell_however_often_it_comes(run, keys, server):
    enqueued(run, keys, "a", "b", queue="mail")
    enqueued(run, keys, "c", queue="mail")

    assert server.cli("LLEN", keys.bell("mail", "*")) == 1
    assert server.cli("LLEN", keys.bell("default", "*")) == 0


# When


def test_a_delayed_task_is_served_when_it_is_due_and_not_before(run, keys):
    enqueued(run, keys, "a", run_at_ms=NOW + 5_000)
    joined(run, keys)

    assert state(run, keys, "a") is State.SCHEDULED
    assert record(run, keys, "a").run_at_ms == NOW + 5_000
    early = claimed(run, keys, now_ms=NOW + 4_999)
    assert (early.tasks, early.wait_ms) == ([], 1)
    assert ids(claimed(run, keys, call=2, now_ms=NOW + 5_000)) == ["a"]


def test_a_task_that_is_due_already_waits_like_any_other(run, keys):
    enqueued(run, keys, "a", run_at_ms=NOW)

    assert state(run, keys, "a") is State.QUEUED


def test_tasks_due_at_the_same_moment_come_in_the_order_they_were_given(run, keys):
    many = [f"t{n}" for n in range(50)]
    enqueued(run, keys, *many, run_at_ms=NOW + 1_000)
    joined(run, keys)

    assert ids(claimed(run, keys, now_ms=NOW + 1_000)) == many


def test_a_task_due_before_all_others_rings_for_the_sleepers(run, keys, server):
    joined(run, keys)
    enqueued(run, keys, "late", run_at_ms=NOW + 9_000)
    assert claimed(run, keys).wait_ms == 9_000
    server.cli("DEL", keys.bell("default", "*"))

    enqueued(run, keys, "later", run_at_ms=NOW + 10_000)
    assert server.cli("LLEN", keys.bell("default", "*")) == 0
    enqueued(run, keys, "early", run_at_ms=NOW + 1_000)
    assert server.cli("LLEN", keys.bell("default", "*")) == 1


def test_the_far_end_of_the_calendar_is_a_time_like_any_other(run, keys):
    year_9999 = 253_402_300_799_000
    enqueued(run, keys, "a", run_at_ms=year_9999)
    joined(run, keys)

    assert record(run, keys, "a").run_at_ms in (year_9999 - 1, year_9999)
    assert claimed(run, keys).tasks == []


# How urgent


def test_critical_tasks_are_served_first_and_first_in_first_out(run, keys):
    enqueued(run, keys, "normal", priority=100)
    enqueued(run, keys, "c1", "c2", priority=Priority.CRITICAL)
    enqueued(run, keys, "c3", priority=Priority.CRITICAL)
    joined(run, keys)

    assert ids(claimed(run, keys)) == ["c1", "c2", "c3", "normal"]
    assert record(run, keys, "c1").priority is Priority.CRITICAL


def test_critical_tasks_of_different_functions_keep_the_order_of_the_call(run, keys):
    several = [("a1", "a"), ("b1", "b"), ("a2", "a"), ("b2", "b")]
    run(enqueue(keys, [new(id, name=name, priority=Priority.CRITICAL) for id, name in several], now_ms=NOW))
    joined(run, keys)

    assert ids(claimed(run, keys)) == ["a1", "b1", "a2", "b2"]


def test_a_plain_six_is_a_priority_and_not_the_critical_lane(run, keys):
    enqueued(run, keys, "six", priority=6)
    enqueued(run, keys, "seven", priority=7)
    joined(run, keys)

    assert ids(claimed(run, keys)) == ["seven", "six"]


def test_all_of_djangos_priorities_keep_their_order(run, keys):
    line = [*range(-100, 101)]
    run(enqueue(keys, [new(str(priority), priority=priority) for priority in line], now_ms=NOW))
    joined(run, keys)

    assert ids(claimed(run, keys, limit=300)) == [str(priority) for priority in reversed(line)]


def test_a_step_of_priority_is_worth_a_minute_of_age(run, keys):
    enqueued(run, keys, "old", priority=0, now_ms=NOW)
    enqueued(run, keys, "younger", priority=1, now_ms=NOW + 59_999)
    enqueued(run, keys, "too young", priority=1, now_ms=NOW + 60_001)
    joined(run, keys)

    assert ids(claimed(run, keys, now_ms=NOW + 60_001)) == ["younger", "old", "too young"]


@pytest.mark.parametrize("priority", [-101, 101])
def test_a_priority_off_the_line_is_refused(keys, priority):
    with pytest.raises(Invalid, match="priority"):
        enqueue(keys, [new("a", priority=priority)])


def test_equal_priorities_are_first_in_first_out_within_a_microsecond(run, keys):
    order = [f"t{n}" for n in range(20)]
    for id in order:
        enqueued(run, keys, id)
    joined(run, keys)

    assert ids(claimed(run, keys)) == order


# How many


def test_the_backlog_limit_is_reached_exactly_and_never_exceeded(run, keys, server):
    three = Policy(max_backlog=3)
    enqueued(run, keys, "a", "b", policy=three)

    with pytest.raises(QueueFull) as refused:
        enqueued(run, keys, "c", "d", policy=three)

    assert (refused.value.user_id, refused.value.waiting, refused.value.limit) == ("acme", 2, 3)
    assert run(read(keys, "c")) is None
    assert in_states(run, keys) == {"queued": 2}
    assert enqueued(run, keys, "c", policy=three).new == 1


def test_scheduled_tasks_count_as_backlog_and_running_ones_do_not(run, keys):
    two = Policy(max_backlog=2)
    enqueued(run, keys, "later", policy=two, run_at_ms=NOW + 1_000)
    enqueued(run, keys, "now", policy=two)

    with pytest.raises(QueueFull):
        enqueued(run, keys, "more", policy=two)

    joined(run, keys)
    assert ids(claimed(run, keys, limit=1)) == ["now"]
    assert enqueued(run, keys, "more", policy=two).new == 1


def test_a_full_user_hinders_nobody_else(run, keys):
    one = Policy(max_backlog=1)
    enqueued(run, keys, "a", policy=one)

    assert enqueued(run, keys, "b", policy=one, user_id="globex").new == 1


def test_one_full_user_keeps_the_whole_call_out(run, keys, server):
    one = Policy(max_backlog=1)
    enqueued(run, keys, "a", policy=one)
    before = names(server, keys)

    with pytest.raises(QueueFull):
        run(enqueue(keys, [new("b", user_id="globex"), new("c", policy=one), new("d")], now_ms=NOW))

    assert names(server, keys) == before


def test_a_limit_counts_the_tasks_of_all_queues_and_functions_of_a_call(run, keys):
    two = Policy(max_backlog=2)
    three = [new("a", policy=two), new("b", policy=two, queue="mail"), new("c", policy=two, name="other")]

    with pytest.raises(QueueFull):
        run(enqueue(keys, three, now_ms=NOW))


def test_a_call_sent_again_is_not_stopped_by_the_limit_it_filled(run, keys):
    two = Policy(max_backlog=2)
    call = enqueue(keys, [new("a", policy=two), new("b", policy=two)], now_ms=NOW)
    run(call)

    assert run(call) == Enqueued(0, ("a", "b"))
