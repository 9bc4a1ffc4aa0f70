from __future__ import annotations

import pytest

from django_fairque.engine.errors import LeaseLost
from django_fairque.engine.options import Options
from django_fairque.engine.recover import recover
from django_fairque.engine.renew import join, leave, new_worker, renew
from django_fairque.engine.task import Finish, Policy, Priority, State

from .given import NOW, claimed, enqueued, ids, in_states, joined, names, record, settled

LEASE = 30_000
MINUTE = Options(lease_ms=60_000)


def test_incarnations_are_never_the_same_and_begin_with_the_workers_name():
    drawn = {new_worker("web-1") for _ in range(1_000)}

    assert len(drawn) == 1_000
    assert all(id.startswith("web-1-") for id in drawn)


@pytest.mark.parametrize("name", ["", "a:b,c|d", "{0}", "名前", "x" * 500, "\n"])
def test_an_incarnation_is_harmless_whatever_the_worker_is_called(run, keys, name):
    worker = new_worker(name)
    enqueued(run, keys, "a")
    joined(run, keys, worker)

    assert len(worker) <= 64
    assert claimed(run, keys, worker).tasks[0].workers == (worker,)
    settled(run, keys, {"a": Finish()}, worker)
    assert record(run, keys, "a").workers == (worker,)


def test_a_renewed_lease_lasts_from_now(run, keys, server):
    joined(run, keys)

    assert run(renew(keys, ["w1"], now_ms=NOW + 10_000)) == []

    assert server.cli("ZSCORE", keys.leases, "w1") == NOW + 10_000 + LEASE


def test_the_lease_lasts_as_long_as_the_settings_say(run, keys, server):
    joined(run, keys, options=MINUTE)
    assert server.cli("ZSCORE", keys.leases, "w1") == NOW + 60_000

    run(renew(keys, ["w1"], now_ms=NOW + 1, options=MINUTE))
    assert server.cli("ZSCORE", keys.leases, "w1") == NOW + 60_001


def test_many_workers_are_renewed_at_once_and_the_lost_ones_are_told(run, keys):
    for worker in ("w1", "w2", "w3"):
        joined(run, keys, worker)
    run(recover(keys, "w2", now_ms=NOW))

    assert run(renew(keys, ["w1", "w2", "w3", "never"], now_ms=NOW)) == ["w2", "never"]


def test_a_lease_renewed_twice_in_the_same_moment_is_no_lost_lease(run, keys):
    joined(run, keys)

    assert run(renew(keys, ["w1"], now_ms=NOW)) == []
    assert run(renew(keys, ["w1", "w1"], now_ms=NOW)) == []


def test_an_overdue_lease_may_be_renewed_while_nobody_has_taken_it(run, keys):
    enqueued(run, keys, "a")
    joined(run, keys)
    claimed(run, keys)

    assert run(renew(keys, ["w1"], now_ms=NOW + 10 * LEASE)) == []
    assert run(recover(keys, now_ms=NOW + 10 * LEASE)) == 0
    assert settled(run, keys, {"a": Finish()}, now_ms=NOW + 10 * LEASE) == ["ok"]


def test_renewing_keeps_the_tasks_of_a_worker_that_runs_for_long(run, keys):
    enqueued(run, keys, "a")
    joined(run, keys)
    claimed(run, keys)
    joined(run, keys, "w2")

    for tick in range(1, 40):
        now = NOW + tick * LEASE // 3
        assert run(renew(keys, ["w1", "w2"], now_ms=now)) == []
        assert ids(claimed(run, keys, "w2", call=tick, now_ms=now)) == []
    assert record(run, keys, "a").state is State.STARTED


def test_joining_twice_is_joining_once(run, keys, server):
    join_it = join(keys, "w1", {"host": "h"}, now_ms=NOW)
    run(join_it)
    run(join_it)

    assert server.cli("ZCARD", keys.leases) == 1


def test_a_worker_that_leaves_hands_its_tasks_back_uncounted(run, keys):
    enqueued(run, keys, "a", "b", "c")
    joined(run, keys)
    claimed(run, keys, limit=2)

    assert run(leave(keys, "w1", now_ms=NOW + 5)) == 2

    assert in_states(run, keys) == {"queued": 3}
    found = record(run, keys, "a")
    assert (found.attempts, found.lost, found.workers) == (0, 0, ())
    joined(run, keys, "w2")
    again = claimed(run, keys, "w2")
    assert ids(again) == ["a", "b", "c"]
    assert {task.deliveries for task in again.tasks} == {1}


@pytest.mark.parametrize("count", [3, 700])
def test_critical_tasks_handed_back_are_first_again_and_in_their_order(run, keys, count):
    many = [f"t{n}" for n in range(count)]
    enqueued(run, keys, *many, priority=Priority.CRITICAL)
    enqueued(run, keys, "last", priority=Priority.CRITICAL)
    joined(run, keys)
    claimed(run, keys, call=1, limit=2)
    claimed(run, keys, call=2, limit=count - 2)

    run(leave(keys, "w1", now_ms=NOW))

    joined(run, keys, "w2")
    assert ids(claimed(run, keys, "w2", limit=1_000)) == [*many, "last"]


def test_leaving_frees_the_users_slots(run, keys):
    enqueued(run, keys, "a", "b", policy=Policy(max_concurrency=1))
    joined(run, keys)
    claimed(run, keys)
    run(leave(keys, "w1", now_ms=NOW))

    joined(run, keys, "w2")
    assert ids(claimed(run, keys, "w2")) == ["a"]


def test_leaving_again_or_never_having_been_there_is_no_trouble(run, keys):
    joined(run, keys)
    assert run(leave(keys, "w1", now_ms=NOW)) == 0
    assert run(leave(keys, "w1", now_ms=NOW)) == 0
    assert run(leave(keys, "never", now_ms=NOW)) == 0


def test_nothing_of_a_worker_stays_when_it_left_but_the_name_it_may_not_use_again(run, keys, server):
    before = names(server, keys)
    joined(run, keys)
    run(leave(keys, "w1", now_ms=NOW))

    assert names(server, keys) - before <= {"clock", "gone"}
    with pytest.raises(LeaseLost):
        joined(run, keys)


def test_the_names_of_ended_workers_are_forgotten_after_a_day(run, keys, server):
    joined(run, keys)
    run(leave(keys, "w1", now_ms=NOW))
    joined(run, keys, "w2")

    run(renew(keys, ["w2"], now_ms=NOW + 86_400_001))

    assert "gone" not in names(server, keys)


def test_in_time_slow_tasks_pay_while_they_run(run, keys):
    by_time = Options(fairness="time", debt_limit=1_000_000)
    joined(run, keys, options=by_time)
    enqueued(run, keys, "slow", "slow2", options=by_time)
    claimed(run, keys, limit=1, options=by_time)
    enqueued(run, keys, *(f"quick{n}" for n in range(5)), user_id="globex", options=by_time)

    run(renew(keys, ["w1"], now_ms=NOW + 10_000, options=by_time))

    assert ids(claimed(run, keys, call=2, limit=3, options=by_time)) == ["quick0", "quick1", "quick2"]
