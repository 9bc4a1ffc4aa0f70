"""What has ended goes: records, their parts, and every entry that points to them."""

from __future__ import annotations

import pytest

from django_fairque.engine.cancel import cancel
from django_fairque.engine.options import Options
from django_fairque.engine.policy import override, pause, resume
from django_fairque.engine.recover import recover
from django_fairque.engine.renew import leave, renew
from django_fairque.engine.result import read
from django_fairque.engine.task import Bury, Finish, Outcome, Park, Policy, Priority, Release, Retry

from .given import (
    NOW,
    claimed,
    counts,
    enqueued,
    ids,
    in_states,
    joined,
    names,
    settled,
    state,
)

BRIEF = Options(result_ttl_ms=10_000, failed_ttl_ms=20_000)
LONG = b"x" * 100

# What a partition keeps whoever was there: bounded by the names of queues and groups, not by use.
FURNITURE = {"clock", "gone", "leases", "worker:w1", "bell:default:*", "bell:mail:*"}


def lasting(server, keys) -> set[str]:
    """The keys that never go by themselves, without the furniture."""
    stay = {name for name in names(server, keys) if server.cli("PTTL", keys.base + name) == -1}
    return stay - FURNITURE


def longest_ttl(server, keys, id: str) -> int:
    """The TTL of the part of a task that stays longest; fails when one has none."""
    parts = [keys.task(id), keys.body(id), keys.result(id), keys.errors(id)]
    found = [server.cli("PTTL", key) for key in parts if server.cli("EXISTS", key)]
    assert all(ttl > 0 for ttl in found)
    return max(map(int, found))


OUTCOMES = [Finish(b"1"), Finish(LONG), Bury("no", LONG)]


@pytest.mark.parametrize("payload", [b"short", LONG], ids=["short", "long"])
@pytest.mark.parametrize("outcome", OUTCOMES, ids=["finished", "finished-long", "failed"])
def test_every_part_of_an_ended_task_expires_with_it(run, keys, server, outcome, payload):
    enqueued(run, keys, "a", payload=payload)
    joined(run, keys)
    claimed(run, keys, options=BRIEF)
    settled(run, keys, {"a": Retry(0, LONG)}, options=BRIEF)
    claimed(run, keys, call=2, options=BRIEF)

    settled(run, keys, {"a": outcome}, call=2, options=BRIEF)

    assert longest_ttl(server, keys, "a") <= (20_000 if isinstance(outcome, Bury) else 10_000)


@pytest.mark.parametrize("outcome", [Retry(1_000, LONG), Park(1_000, "x"), Release()], ids=type)
def test_a_task_that_is_not_over_never_expires(run, keys, server, outcome):
    enqueued(run, keys, "a", payload=LONG)
    joined(run, keys)
    claimed(run, keys)
    settled(run, keys, {"a": outcome}, options=BRIEF)

    for key in (keys.task("a"), keys.body("a"), keys.errors("a")):
        assert server.cli("PTTL", key) in (-1, -2)


def test_entries_go_when_their_records_expire(run, keys, server):
    enqueued(run, keys, "finished", "failed", "canceled")
    run(cancel(keys, "canceled", now_ms=NOW, options=BRIEF))
    joined(run, keys)
    claimed(run, keys, options=BRIEF)
    settled(run, keys, {"finished": Finish(), "failed": Bury("no")}, options=BRIEF)

    run(renew(keys, ["w1"], now_ms=NOW + 9_999, options=BRIEF))
    assert in_states(run, keys) == {"finished": 1, "failed": 1, "canceled": 1}
    run(renew(keys, ["w1"], now_ms=NOW + 10_000, options=BRIEF))
    assert in_states(run, keys) == {"failed": 1, "canceled": 1}
    run(renew(keys, ["w1"], now_ms=NOW + 20_000, options=BRIEF))
    assert in_states(run, keys) == {}
    assert not any(name.startswith(("task:", "state:", "errors:", "body:")) for name in names(server, keys))


def test_more_finished_tasks_than_the_limit_go_oldest_first(run, keys, server):
    few = Options(finished_limit=3)
    joined(run, keys)
    for n in range(6):
        enqueued(run, keys, f"t{n}", payload=LONG)
        claimed(run, keys, call=n + 1)
        settled(run, keys, {f"t{n}": Finish(LONG)}, call=n + 1, now_ms=NOW + n, options=few)

    assert server.cli("ZRANGE", keys.state("finished"), 0, -1) == [b"t3", b"t4", b"t5"]
    assert run(read(keys, "t2")) is None
    assert server.cli("EXISTS", keys.body("t2"), keys.result("t2"), keys.errors("t2")) == 0


def test_more_dead_letters_than_the_limit_go_oldest_first_and_are_counted(run, keys, server):
    few = Options(dead_letter_limit=3)
    joined(run, keys)
    for n in range(6):
        enqueued(run, keys, f"t{n}", payload=LONG)
        claimed(run, keys, call=n + 1)
        settled(run, keys, {f"t{n}": Bury("no", LONG)}, call=n + 1, now_ms=NOW + n, options=few)

    assert server.cli("ZRANGE", keys.state("failed"), 0, -1) == [b"t3", b"t4", b"t5"]
    assert counts(run, keys).dropped == 3
    assert server.cli("EXISTS", keys.task("t2"), keys.body("t2"), keys.errors("t2")) == 0


def test_a_lowered_limit_is_reached_step_by_step(run, keys):
    joined(run, keys)
    many = [f"t{n}" for n in range(1_000)]
    enqueued(run, keys, *many)
    claimed(run, keys, limit=1_000)
    settled(run, keys, {id: Finish() for id in many})

    few = Options(finished_limit=10)
    for _ in range(5):
        run(renew(keys, ["w1"], now_ms=NOW, options=few))
    assert in_states(run, keys) == {"finished": 10}


def test_more_canceled_tasks_than_the_limit_go(run, keys):
    joined(run, keys)
    enqueued(run, keys, *"abcde")
    for id in "abcde":
        run(cancel(keys, id, now_ms=NOW))

    run(renew(keys, ["w1"], now_ms=NOW, options=Options(dead_letter_limit=2)))
    assert in_states(run, keys) == {"canceled": 2}


def test_an_id_is_free_again_when_its_record_is_gone(run, keys):
    enqueued(run, keys, "a", payload=LONG)
    joined(run, keys)
    claimed(run, keys)
    settled(run, keys, {"a": Finish(LONG)}, options=BRIEF)
    run(renew(keys, ["w1"], now_ms=NOW + 10_000, options=BRIEF))

    assert enqueued(run, keys, "a", payload=b"other", now_ms=NOW + 10_001).new == 1
    assert ids(claimed(run, keys, call=2, now_ms=NOW + 10_001)) == ["a"]


def test_nothing_stays_of_all_that_ended(run, keys, server):
    """Every way in and every way out, then the TTLs pass: the partition is as empty as before."""
    joined(run, keys)
    strict = Policy(weight=2, max_concurrency=3, rate_interval_ms=1, max_backlog=100)
    users = [f"user{n}" for n in range(20)]
    for user in users:
        enqueued(run, keys, f"{user}-1", f"{user}-2", user_id=user, payload=LONG, policy=strict)
        enqueued(run, keys, f"{user}-c", user_id=user, priority=Priority.CRITICAL, policy=strict)
        enqueued(run, keys, f"{user}-s", user_id=user, run_at_ms=NOW + 50, policy=strict)
        enqueued(run, keys, f"{user}-x", user_id=user, policy=strict)
        run(cancel(keys, f"{user}-x", now_ms=NOW, options=BRIEF))
    run(override(keys, "user0", Policy(weight=9), now_ms=NOW))
    run(override(keys, "user0", None, now_ms=NOW))
    run(pause(keys, "user1", now_ms=NOW))
    run(resume(keys, "user1", now_ms=NOW))
    outcomes: list[Outcome] = [
        Finish(LONG),
        Bury("no", LONG),
        Retry(10, LONG),
        Release(),
        Park(10, "x"),
        Finish(),
    ]
    now, call, n = NOW, 0, 0
    lost = joined(run, keys, "lost")
    claimed(run, keys, lost, limit=5)
    run(recover(keys, lost, now_ms=NOW, options=BRIEF))
    while counts(run, keys, now).users:
        now, call = now + 100, call + 1
        for task in claimed(run, keys, call=call, limit=7, now_ms=now, options=BRIEF).tasks:
            n += 1
            settled(run, keys, {task.id: outcomes[n % 6]}, call=call, now_ms=now, options=BRIEF)
    run(renew(keys, ["w1"], now_ms=now + 20_001, options=BRIEF))

    assert call < 60
    assert lasting(server, keys) == set()
    left = {name for name in names(server, keys) if server.cli("PTTL", keys.base + name) > 0}
    assert left <= {f"user:{user}" for user in users} | {f"stats:{NOW // 60_000}"}
    assert server.cli("HMGET", keys.clock, "w:default:*", "q:default", "running") in (
        [b"0", b"0", b"0"], [b"0", b"0", None],
    )  # fmt: skip

    # When every user has been idle for an hour only the furniture stays.
    assert all(0 < server.cli("PTTL", keys.user(user)) <= 3_600_000 for user in users)
    run(leave(keys, "w1", now_ms=now))
    assert lasting(server, keys) == set()


def test_the_hash_of_the_clock_does_not_grow_with_users_or_tasks(run, keys, server):
    joined(run, keys)
    sizes = []
    for turn in range(3):
        enqueued(run, keys, *(f"{turn}-{n}" for n in range(50)), user_id=f"user{turn}")
        settled(run, keys, {id: Finish() for id in ids(claimed(run, keys, call=turn + 1))}, call=turn + 1)
        sizes.append(server.cli("HLEN", keys.clock))

    assert sizes[0] == sizes[1] == sizes[2]


@pytest.mark.parametrize("drained_by", ["settle", "cancel", "bury"])
def test_an_idle_user_expires_and_a_returning_one_does_not(run, keys, server, drained_by):
    enqueued(run, keys, "a")
    joined(run, keys)
    if drained_by == "cancel":
        run(cancel(keys, "a", now_ms=NOW))
    else:
        claimed(run, keys)
        settled(run, keys, {"a": Bury("no") if drained_by == "bury" else Finish()})
    assert 0 < server.cli("PTTL", keys.user("acme")) <= 3_600_000

    enqueued(run, keys, "b")
    assert server.cli("PTTL", keys.user("acme")) == -1


def test_a_user_with_a_slow_rate_is_remembered_until_it_may_start_again(run, keys, server):
    enqueued(run, keys, "a", policy=Policy(rate_interval_ms=86_400_000))
    joined(run, keys)
    claimed(run, keys)
    settled(run, keys, {"a": Finish()})

    assert 86_000_000 < server.cli("PTTL", keys.user("acme")) <= 86_400_000


def test_a_user_that_only_has_scheduled_or_running_tasks_does_not_expire(run, keys, server):
    enqueued(run, keys, "later", run_at_ms=NOW + 10**9)
    assert server.cli("PTTL", keys.user("acme")) == -1
    enqueued(run, keys, "runs", user_id="globex")
    joined(run, keys)
    claimed(run, keys)
    assert server.cli("PTTL", keys.user("globex")) == -1
    assert state(run, keys, "runs") == "started"
