from __future__ import annotations

import pytest

from django_fairque.engine.enqueue import enqueue
from django_fairque.engine.errors import LeaseLost
from django_fairque.engine.options import Options
from django_fairque.engine.recover import recover
from django_fairque.engine.renew import join, renew
from django_fairque.engine.settle import Settled
from django_fairque.engine.task import Finish, Policy, Priority, State

from .given import (
    NOW,
    claimed,
    enqueued,
    ids,
    in_states,
    joined,
    new,
    record,
    settled,
    state,
)

LEASE = 30_000
STEP = LEASE // 5


def time_passes(run, keys, until: int, *alive: str, since: int = NOW) -> None:
    """The clock goes on and ``alive`` renew, as workers do; so nobody takes it for an outage."""
    for now in range(since, until, STEP):
        run(renew(keys, alive, now_ms=now))


def started(run, keys, *tasks: str, worker: str = "w1", **other) -> None:
    enqueued(run, keys, *tasks, **other)
    joined(run, keys, worker)
    assert ids(claimed(run, keys, worker, limit=len(tasks))) == [*tasks]


# When a lease ends


def test_a_silent_worker_loses_its_tasks_when_the_lease_ends_and_not_before(run, keys):
    started(run, keys, "a", "b")
    time_passes(run, keys, NOW + LEASE)

    assert run(recover(keys, now_ms=NOW + LEASE - 1)) == 0
    assert run(recover(keys, now_ms=NOW + LEASE)) == 2
    assert in_states(run, keys) == {"queued": 2}


def test_a_claim_takes_back_what_dead_workers_held(run, keys):
    started(run, keys, "a")
    joined(run, keys, "w2")
    time_passes(run, keys, NOW + LEASE, "w2")

    assert ids(claimed(run, keys, "w2", now_ms=NOW + LEASE)) == ["a"]


def test_an_idle_worker_is_told_when_the_next_lease_may_end(run, keys):
    started(run, keys, "a")
    joined(run, keys, "w2", now_ms=NOW + 5_000)

    wait = claimed(run, keys, "w2", now_ms=NOW + 5_000).wait_ms

    assert wait is not None
    assert wait <= LEASE - 5_000


def test_a_worker_known_to_be_dead_is_recovered_at_once(run, keys):
    started(run, keys, "a")
    started(run, keys, "b", worker="w2")

    assert run(recover(keys, "w1", now_ms=NOW + 1)) == 1

    assert (state(run, keys, "a"), state(run, keys, "b")) == (State.QUEUED, State.STARTED)
    assert run(renew(keys, ["w1", "w2"], now_ms=NOW + 1)) == ["w1"]


def test_recovering_nobody_or_an_unknown_worker_changes_nothing(run, keys):
    started(run, keys, "a")

    assert run(recover(keys, now_ms=NOW)) == 0
    assert run(recover(keys, "never", now_ms=NOW)) == 0
    assert in_states(run, keys) == {"started": 1}


def test_recovering_twice_recovers_once(run, keys):
    started(run, keys, "a")

    assert run(recover(keys, "w1", now_ms=NOW)) == 1
    assert run(recover(keys, "w1", now_ms=NOW)) == 0
    assert record(run, keys, "a").lost == 1


def test_one_call_takes_back_a_bounded_number_and_the_next_ones_the_rest(run, keys):
    many = [f"t{n}" for n in range(250)]
    started(run, keys, *many)

    assert [run(recover(keys, worker, limit=100, now_ms=NOW)) for worker in ("w1", None, None, None)] == [
        100, 100, 50, 0,
    ]  # fmt: skip
    joined(run, keys, "w2")
    assert ids(claimed(run, keys, "w2", limit=300)) == many


def test_a_whole_machine_of_dead_workers_is_recovered_in_one_call(run, keys):
    dead = [f"w{n}" for n in range(8)]
    for worker in dead:
        started(run, keys, f"t-{worker}", worker=worker)
    time_passes(run, keys, NOW + LEASE)

    assert run(recover(keys, now_ms=NOW + LEASE)) == 8


def test_claims_take_back_all_of_a_worker_that_held_very_much(run, keys):
    many = [f"t{n}" for n in range(600)]
    started(run, keys, *many)
    joined(run, keys, "w2")
    time_passes(run, keys, NOW + LEASE, "w2")

    served = [id for n in range(1, 5) for id in ids(claimed(run, keys, "w2", n, 600, now_ms=NOW + LEASE))]
    assert sorted(served) == sorted(many)


# What becomes of the tasks


def test_recovered_tasks_return_to_their_places_before_younger_ones(run, keys):
    enqueued(run, keys, "a", "b", "c", "d")
    joined(run, keys)
    claimed(run, keys, limit=2)

    run(recover(keys, "w1", now_ms=NOW + 5))

    joined(run, keys, "w2")
    assert ids(claimed(run, keys, "w2")) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("count", [3, 700])
def test_recovered_critical_tasks_are_first_again_and_in_their_order(run, keys, count):
    many = [f"t{n}" for n in range(count)]
    enqueued(run, keys, *many, "last", priority=Priority.CRITICAL)
    joined(run, keys)
    claimed(run, keys, call=1, limit=1)
    claimed(run, keys, call=2, limit=count - 1)

    run(recover(keys, "w1", now_ms=NOW))

    joined(run, keys, "w2")
    assert ids(claimed(run, keys, "w2", limit=1_000)) == [*many, "last"]


def test_a_lost_worker_burns_no_attempt_but_counts_as_a_delivery(run, keys):
    started(run, keys, "a")
    run(recover(keys, "w1", now_ms=NOW + 5))

    found = record(run, keys, "a")
    assert (found.attempts, found.lost, found.workers) == (0, 1, ("w1",))
    assert found.errors == ()
    joined(run, keys, "w2")
    (task,) = claimed(run, keys, "w2", now_ms=NOW + 10).tasks
    assert (task.attempt, task.deliveries, task.workers) == (1, 2, ("w1", "w2"))
    assert record(run, keys, "a").first_started_ms == NOW


def test_a_task_that_kills_its_workers_is_buried_and_harms_nobody(run, keys):
    three = Options(max_deliveries=3)
    enqueued(run, keys, "killer", "good")
    for n in range(3):
        worker = joined(run, keys, f"w{n}")
        assert ids(claimed(run, keys, worker, limit=1, options=three)) == ["killer"]
        run(recover(keys, worker, now_ms=NOW, options=three))

    found = record(run, keys, "killer")
    assert (found.state, found.lost, found.workers) == (State.FAILED, 3, ("w0", "w1", "w2"))
    assert "lost 3 times" in found.reason
    joined(run, keys, "w4")
    assert ids(claimed(run, keys, "w4", options=three)) == ["good"]
    assert in_states(run, keys) == {"started": 1, "failed": 1}


def test_the_buried_stay_as_long_as_the_settings_say(run, keys, server):
    brief = Options(max_deliveries=1, failed_ttl_ms=5_000, dead_letter_limit=2)
    for n in range(4):
        started(run, keys, f"t{n}", worker=f"w{n}", payload=b"x" * 100)
        run(recover(keys, f"w{n}", now_ms=NOW + n, options=brief))

    assert server.cli("ZRANGE", keys.state("failed"), 0, -1) == [b"t2", b"t3"]
    assert 0 < server.cli("PTTL", keys.task("t3")) <= 5_000
    assert 0 < server.cli("PTTL", keys.body("t3")) <= 5_000
    assert server.cli("EXISTS", keys.task("t0"), keys.body("t0")) == 0


def test_a_claim_that_buries_keeps_to_the_settings_too(run, keys, server):
    brief = Options(max_deliveries=1, failed_ttl_ms=5_000)
    started(run, keys, "a")
    joined(run, keys, "w2")
    time_passes(run, keys, NOW + LEASE, "w2")

    assert ids(claimed(run, keys, "w2", now_ms=NOW + LEASE, options=brief)) == []
    assert 0 < server.cli("PTTL", keys.task("a")) <= 5_000


def test_recovering_frees_the_users_slot(run, keys):
    one = Policy(max_concurrency=1)
    started(run, keys, "a", policy=one)
    enqueued(run, keys, "b", policy=one)
    run(recover(keys, "w1", now_ms=NOW))

    joined(run, keys, "w2")
    assert ids(claimed(run, keys, "w2")) == ["a"]
    assert ids(claimed(run, keys, "w2", call=2)) == []


# Dead for ever


@pytest.mark.parametrize("with_tasks", [True, False], ids=["busy", "idle"])
def test_an_incarnation_that_was_recovered_never_comes_back(run, keys, with_tasks):
    started(run, keys, "a")
    if not with_tasks:
        settled(run, keys, {"a": Finish()})
    run(recover(keys, "w1", now_ms=NOW))

    with pytest.raises(LeaseLost):
        run(join(keys, "w1", now_ms=NOW))
    with pytest.raises(LeaseLost):
        claimed(run, keys, call=2)
    assert run(renew(keys, ["w1"], now_ms=NOW)) == ["w1"]


def test_a_recovered_worker_cannot_settle_even_when_another_has_finished(run, keys):
    started(run, keys, "a")
    run(recover(keys, "w1", now_ms=NOW))
    assert settled(run, keys, {"a": Finish(b"late")}) == [Settled.LOST]

    joined(run, keys, "w2")
    claimed(run, keys, "w2")
    assert settled(run, keys, {"a": Finish(b"late")}) == [Settled.LOST]
    settled(run, keys, {"a": Finish(b"mine")}, "w2")
    assert settled(run, keys, {"a": Finish(b"late")}) == [Settled.LOST]
    assert record(run, keys, "a").result == b"mine"


def test_the_same_claim_again_after_recovery_is_refused(run, keys):
    started(run, keys, "a")
    run(recover(keys, "w1", now_ms=NOW))

    with pytest.raises(LeaseLost):
        claimed(run, keys, limit=1)


# When everybody was away


def test_after_an_outage_everybody_gets_one_more_lease(run, keys):
    started(run, keys, "a")
    joined(run, keys, "w2")
    back = NOW + 10 * LEASE

    assert ids(claimed(run, keys, "w2", now_ms=back)) == []
    assert run(recover(keys, now_ms=back + 1)) == 0
    assert run(renew(keys, ["w1"], now_ms=back + 10)) == []
    assert settled(run, keys, {"a": Finish()}, now_ms=back + 20) == [Settled.OK]


def test_who_is_still_silent_one_lease_after_an_outage_is_dead(run, keys):
    started(run, keys, "a")
    joined(run, keys, "w2")
    back = NOW + 10 * LEASE
    claimed(run, keys, "w2", now_ms=back)
    time_passes(run, keys, back + LEASE, "w2", since=back)

    assert run(recover(keys, now_ms=back + LEASE - 1)) == 0
    assert ids(claimed(run, keys, "w2", call=2, now_ms=back + LEASE)) == ["a"]


@pytest.mark.parametrize("first", ["enqueue", "join", "renew", "recover", "claim"])
def test_whoever_comes_first_after_an_outage_notices_it(run, keys, first):
    started(run, keys, "a")
    joined(run, keys, "w2")
    back = NOW + 10 * LEASE
    commands = {
        "enqueue": lambda: run(enqueue(keys, [new("b", user_id="globex")], now_ms=back)),
        "join": lambda: joined(run, keys, "w3", now_ms=back),
        "renew": lambda: run(renew(keys, ["w2"], now_ms=back)),
        "recover": lambda: run(recover(keys, now_ms=back)),
        "claim": lambda: claimed(run, keys, "w2", limit=0, now_ms=back),
    }
    commands[first]()

    assert run(recover(keys, now_ms=back + 1)) == 0
    assert state(run, keys, "a") is State.STARTED


def test_while_producers_come_a_silent_worker_has_no_outage_to_blame(run, keys):
    started(run, keys, "a")
    for now in range(NOW, NOW + LEASE, STEP):
        enqueued(run, keys, f"t{now}", now_ms=now, user_id="globex")

    assert run(recover(keys, now_ms=NOW + LEASE)) == 1


def test_an_absence_of_less_than_half_a_lease_is_no_outage(run, keys):
    started(run, keys, "a")
    time_passes(run, keys, NOW + LEASE * 4 // 5)

    assert run(recover(keys, now_ms=NOW + LEASE)) == 1


def test_a_worker_known_to_be_dead_gets_no_grace(run, keys):
    started(run, keys, "a")
    joined(run, keys, "w2")
    claimed(run, keys, "w2", now_ms=NOW + 10 * LEASE)

    assert run(recover(keys, "w1", now_ms=NOW + 10 * LEASE + 1)) == 1


def test_tasks_of_a_dead_worker_survive_every_lease_length(run, keys):
    brief = Options(lease_ms=1_000)
    enqueued(run, keys, "a")
    joined(run, keys, options=brief)
    claimed(run, keys, options=brief)
    for now in range(NOW, NOW + 1_000, 100):
        run(renew(keys, [], now_ms=now, options=brief))

    assert run(recover(keys, now_ms=NOW + 1_000, options=brief)) == 1
