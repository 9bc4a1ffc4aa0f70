from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_fairque.engine.cancel import cancel
from django_fairque.engine.enqueue import enqueue
from django_fairque.engine.options import Options
from django_fairque.engine.recover import recover
from django_fairque.engine.serve import Serve
from django_fairque.engine.stats import Histogram, minute_of, stats
from django_fairque.engine.task import Bury, Claimed, Finish, Park, Priority, Release, Retry, State

from .given import (
    NOW,
    claimed,
    counts,
    enqueued,
    ids,
    in_states,
    joined,
    names,
    new,
    settled,
    state,
)

MINUTE = minute_of(NOW)


def test_an_empty_partition_counts_nothing(run, keys):
    found = run(stats(keys, now_ms=NOW))

    assert (found.now_ms, set(found.counts.states.values()), found.minutes) == (NOW, {0}, ())
    assert (found.counts.queues, found.counts.users, found.counts.workers) == ({}, 0, 0)
    assert found.counts.dropped == 0


def test_counts_tell_states_queues_users_and_workers(run, keys):
    enqueued(run, keys, "a", "b", "c", "d", "e")
    enqueued(run, keys, "m", queue="mail:*", user_id="globex")
    enqueued(run, keys, "later", run_at_ms=NOW + 1_000, user_id="initech")
    joined(run, keys)
    joined(run, keys, "w2")
    claimed(run, keys, limit=3)
    settled(run, keys, {"a": Finish(), "b": Bury("no")})
    run(cancel(keys, "e", now_ms=NOW))

    found = counts(run, keys)

    assert in_states(run, keys) == {
        "queued": 2, "started": 1, "scheduled": 1, "finished": 1, "failed": 1, "canceled": 1,
    }  # fmt: skip
    assert found.queues == {"default": 1, "mail:*": 1}
    assert (found.users, found.workers) == (3, 2)


def test_dead_workers_are_not_counted(run, keys):
    joined(run, keys)

    assert counts(run, keys, NOW + 30_001).workers == 0


def test_ended_tasks_are_counted_as_long_as_they_are_kept(run, keys):
    enqueued(run, keys, "a", "b", "c")
    joined(run, keys)
    claimed(run, keys, limit=2)
    settled(run, keys, {"a": Finish(), "b": Bury("no")})
    run(cancel(keys, "c", now_ms=NOW))
    short = Options(result_ttl_ms=1_000, failed_ttl_ms=2_000)

    def kept(now: int) -> dict[str, int]:
        found = run(stats(keys, now_ms=now, options=short)).counts.states
        return {name.value: n for name, n in found.items() if n}

    assert kept(NOW + 1_000) == {"finished": 1, "failed": 1, "canceled": 1}
    assert kept(NOW + 1_001) == {"failed": 1, "canceled": 1}
    assert kept(NOW + 2_001) == {}


def test_a_minute_tells_what_happened_in_it(run, keys):
    enqueued(run, keys, "a", "b", "c", "d", "e", "f")
    joined(run, keys)
    joined(run, keys, "w2")
    claimed(run, keys, limit=4)
    settled(run, keys, {"a": Finish(), "b": Retry(1_000), "c": Bury("no"), "d": Release()})
    run(cancel(keys, "d", now_ms=NOW))
    claimed(run, keys, "w2", limit=1)
    run(recover(keys, "w2", now_ms=NOW))

    (minute,) = run(stats(keys, since=MINUTE, now_ms=NOW)).minutes

    assert minute.minute == MINUTE
    assert (minute.enqueued, minute.started, minute.finished, minute.failed) == (6, 5, 1, 1)
    assert (minute.retried, minute.canceled, minute.recovered) == (1, 1, 1)


def test_minutes_are_told_in_order_and_quiet_ones_are_zero(run, keys):
    enqueued(run, keys, "a")
    enqueued(run, keys, "b", "c", now_ms=NOW + 120_000)

    found = run(stats(keys, since=MINUTE - 1, until=MINUTE + 2, now_ms=NOW)).minutes

    assert [(minute.minute, minute.enqueued) for minute in found] == [
        (MINUTE - 1, 0), (MINUTE, 1), (MINUTE + 1, 0), (MINUTE + 2, 2),
    ]  # fmt: skip


def test_no_more_than_a_day_is_read_in_one_call(run, keys):
    assert len(run(stats(keys, since=MINUTE, until=MINUTE + 100_000, now_ms=NOW)).minutes) == 1_441


def test_a_minute_goes_after_a_day(run, keys, server):
    enqueued(run, keys, "a")

    assert 86_000_000 < server.cli("PTTL", keys.stats(MINUTE)) <= 86_400_000


def test_wait_and_run_times_are_told(run, keys):
    joined(run, keys)
    enqueued(run, keys, *(f"t{n}" for n in range(10)))
    claimed(run, keys, limit=10, now_ms=NOW + 100)
    settled(run, keys, {f"t{n}": Finish() for n in range(9)}, now_ms=NOW + 110)
    settled(run, keys, {"t9": Finish()}, now_ms=NOW + 5_100)

    (minute,) = run(stats(keys, since=MINUTE, now_ms=NOW)).minutes

    assert minute.wait.percentile(0.5) == pytest.approx(100, rel=0.2)
    assert minute.run.percentile(0.5) == pytest.approx(10, rel=0.2)
    assert minute.run.percentile(0.99) == pytest.approx(5_000, rel=0.2)
    assert sum(minute.wait.buckets.values()) == sum(minute.run.buckets.values()) == 10


def test_a_delayed_task_waits_from_when_it_is_due(run, keys):
    joined(run, keys)
    enqueued(run, keys, "a", run_at_ms=NOW + 10_000)
    claimed(run, keys, now_ms=NOW + 10_200)

    (minute,) = run(stats(keys, since=MINUTE, now_ms=NOW)).minutes
    assert minute.wait.percentile(0.5) == pytest.approx(200, rel=0.2)


def test_a_retry_does_not_count_as_waiting(run, keys):
    joined(run, keys)
    enqueued(run, keys, "a")
    claimed(run, keys)
    settled(run, keys, {"a": Retry(20_000)})
    claimed(run, keys, call=2, now_ms=NOW + 20_000)

    (minute,) = run(stats(keys, since=MINUTE, now_ms=NOW)).minutes
    assert minute.wait.percentile(1.0) < 10


@given(st.lists(st.floats(0, 1e8), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_percentile_is_right_within_a_fifth(times, share):
    buckets: dict[int, int] = {}
    for ms in times:
        bucket = int(2 * math.log2(ms + 1))
        buckets[bucket] = buckets.get(bucket, 0) + 1
    exact = sorted(times)[max(0, math.ceil(share * len(times) - 1e-9) - 1)]

    told = Histogram(buckets).percentile(share)
    assert told is not None
    assert told + 1 == pytest.approx(exact + 1, rel=0.2)


def test_an_empty_histogram_has_no_percentile():
    assert Histogram().percentile(0.5) is None


def test_histograms_of_partitions_add_up():
    assert Histogram({1: 2, 3: 1}) + Histogram({3: 4, 5: 1}) == Histogram({1: 2, 3: 5, 5: 1})


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enqueue"), st.sampled_from(["u1", "u2"]), st.sampled_from(["default", "mail"]),
                  st.sampled_from([0, 3, Priority.CRITICAL]), st.sampled_from([None, 5_000])),
        st.tuples(st.just("claim"), st.sampled_from(["w1", "w2"]), st.integers(1, 4)),
        st.tuples(st.just("settle"), st.sampled_from(["w1", "w2"]),
                  st.sampled_from([Finish(), Retry(1_000), Bury("no"), Release(), Park(500, "x")])),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("recover"), st.sampled_from(["w1", "w2"])),
        st.tuples(st.just("wait"), st.sampled_from([1, 999, 6_000])),
    ),
    min_size=5, max_size=40,
)  # fmt: skip


@hypothesis_settings(max_examples=30)
@given(STEPS)
def test_counts_equal_reality_whatever_happened(run, keys, server, steps):
    server.empty()
    both, now, calls = Serve(queues=("default", "mail")), NOW, 0
    tasks: list[str] = []
    alive: dict[str, str] = {}
    held: dict[str, list[Claimed]] = {}
    for step in steps:
        match step:
            case ("enqueue", user, queue, priority, delay):
                tasks.append(f"t{len(tasks)}")
                due = None if delay is None else now + delay
                one = new(tasks[-1], user_id=user, queue=queue, priority=priority, run_at_ms=due)
                run(enqueue(keys, [one], now_ms=now))
            case ("claim", worker, limit):
                if worker not in alive:
                    alive[worker] = joined(run, keys, f"{worker}-{len(held)}-{calls}", now_ms=now, serve=both)
                calls += 1
                for task in claimed(run, keys, alive[worker], calls, limit, now_ms=now, serve=both).tasks:
                    held.setdefault(alive[worker], []).append(task)
            case ("settle", worker, outcome):
                for task in held.get(alive.get(worker, ""), [])[:2]:
                    settled(run, keys, {task.id: outcome}, alive[worker], task.call, now_ms=now)
                    held[alive[worker]].remove(task)
            case ("cancel", n):
                run(cancel(keys, f"t{n}", now_ms=now))
            case ("recover", worker):
                if worker in alive:
                    run(recover(keys, alive[worker], now_ms=now))
                    held.pop(alive.pop(worker), None)
            case ("wait", ms):
                now += ms

    real = [state(run, keys, id) for id in tasks]
    found = counts(run, keys, now)
    assert in_states(run, keys, now) == {name: real.count(name) for name in set(real)}
    lanes = {name for name in names(server, keys) if name.startswith("queue:")}
    waiting = sum(
        server.cli("LLEN" if name.endswith("critical") else "ZCARD", keys.base + name) for name in lanes
    )
    assert waiting == found.states[State.QUEUED]
    assert sum(found.queues.values()) == waiting
    for queue in ("default", "mail"):
        ready = {user.decode() for user in server.cli("ZRANGE", keys.ready(queue, "*"), 0, -1)}
        assert ready == {user for user in ("u1", "u2") for lane in ("critical", "normal")
                         if keys.lane(user, lane, queue).removeprefix(keys.base) in lanes}  # fmt: skip
        assert float(server.cli("HGET", keys.clock, f"w:{queue}:*") or 0) == len(ready)
    for user in ("u1", "u2"):
        n, f = (int(value or 0) for value in server.cli("HMGET", keys.user(user), "n", "f"))
        mine = [id for id in tasks if server.cli("HGET", keys.task(id), "u") == user.encode()]
        states = [state(run, keys, id) for id in mine]
        assert n == states.count(State.QUEUED) + states.count(State.SCHEDULED)
        assert f == states.count(State.STARTED)
        assert server.cli("ZSCORE", f"{keys.base}users", user) is not None or n + f == 0


def test_nothing_but_the_drained_is_left_of_a_drained_queue(run, keys):
    enqueued(run, keys, "a", "b")
    joined(run, keys)
    settled(run, keys, {id: Finish() for id in ids(claimed(run, keys))})

    found = counts(run, keys)
    assert (in_states(run, keys), found.queues, found.users) == ({"finished": 2}, {}, 0)
