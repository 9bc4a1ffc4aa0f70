from __future__ import annotations

import pytest

from django_fairque.engine.errors import Invalid, QueueFull
from django_fairque.engine.explain import explain
from django_fairque.engine.policy import assign, override, pause, resume
from django_fairque.engine.serve import Group, Serve
from django_fairque.engine.task import Finish, Policy, Retry

from .given import NOW, claimed, counts, enqueued, ids, in_states, joined, names, settled

HOUR = 3_600_000
ONE_AT_A_TIME = Policy(max_concurrency=1)


def used_up(run, keys, *tasks: str, call: int = 1, **other) -> None:
    """Tasks that were enqueued and finished, so that their user idles."""
    enqueued(run, keys, *tasks, **other)
    joined(run, keys)
    claimed(run, keys, call=call)
    settled(run, keys, {id: Finish() for id in tasks}, call=call)


def expired(server, key: str) -> None:
    """What the server does by itself when the TTL of a key has passed."""
    assert server.cli("PTTL", key) > 0
    server.cli("DEL", key)


# Pause


def test_a_paused_user_is_not_served_and_a_resumed_one_is(run, keys):
    enqueued(run, keys, "a", "b")
    joined(run, keys)
    claimed(run, keys, limit=1)

    run(pause(keys, "acme", now_ms=NOW))
    assert ids(claimed(run, keys, call=2)) == []
    run(resume(keys, "acme", now_ms=NOW))
    assert ids(claimed(run, keys, call=3)) == ["b"]


def test_what_runs_goes_on_and_enqueueing_works_while_paused(run, keys):
    enqueued(run, keys, "a")
    joined(run, keys)
    claimed(run, keys)
    run(pause(keys, "acme", now_ms=NOW))

    assert settled(run, keys, {"a": Finish()}) == ["ok"]
    assert enqueued(run, keys, "b").new == 1
    enqueued(run, keys, "later", run_at_ms=NOW + 10)
    assert ids(claimed(run, keys, call=2, now_ms=NOW + 10)) == []
    run(resume(keys, "acme", now_ms=NOW + 10))
    assert ids(claimed(run, keys, call=3, now_ms=NOW + 10)) == ["b", "later"]


def test_pausing_one_user_delays_nobody_else(run, keys):
    enqueued(run, keys, "a")
    enqueued(run, keys, "b", user_id="globex")
    run(pause(keys, "acme", now_ms=NOW))
    joined(run, keys)

    got = claimed(run, keys, limit=1)
    assert (ids(got), got.more) == (["b"], False)


def test_a_user_may_be_paused_before_it_ever_came(run, keys):
    run(pause(keys, "acme", now_ms=NOW))
    joined(run, keys)
    enqueued(run, keys, "a")

    assert ids(claimed(run, keys)) == []
    run(resume(keys, "acme", now_ms=NOW))
    assert ids(claimed(run, keys, call=2)) == ["a"]


def test_a_paused_user_stays_paused_however_long_it_idles(run, keys, server):
    used_up(run, keys, "a")
    run(pause(keys, "acme", now_ms=NOW))
    assert server.cli("PTTL", keys.user("acme")) == -1

    enqueued(run, keys, "b", now_ms=NOW + 100 * HOUR)
    joined(run, keys, "w2", now_ms=NOW + 100 * HOUR)
    assert ids(claimed(run, keys, "w2", now_ms=NOW + 100 * HOUR)) == []


def test_a_user_paused_while_its_last_task_runs_stays_paused(run, keys, server):
    enqueued(run, keys, "a")
    joined(run, keys)
    claimed(run, keys)
    run(pause(keys, "acme", now_ms=NOW))
    settled(run, keys, {"a": Finish()})

    assert server.cli("PTTL", keys.user("acme")) == -1
    enqueued(run, keys, "b")
    assert ids(claimed(run, keys, call=2)) == []


@pytest.mark.parametrize("before", [[], ["a"]], ids=["unknown", "idle"])
def test_nothing_stays_of_a_user_that_was_paused_and_resumed(run, keys, server, before):
    if before:
        used_up(run, keys, *before)
    run(pause(keys, "acme", now_ms=NOW))
    run(resume(keys, "acme", now_ms=NOW))

    assert 0 < server.cli("PTTL", keys.user("acme")) <= HOUR
    assert "paused" not in names(server, keys)


def test_resuming_who_was_not_paused_changes_nothing(run, keys, server):
    run(resume(keys, "ghost", now_ms=NOW))
    assert server.cli("EXISTS", keys.user("ghost")) == 0

    enqueued(run, keys, "a")
    run(resume(keys, "acme", now_ms=NOW))
    joined(run, keys)
    assert ids(claimed(run, keys)) == ["a"]


def test_a_pause_neither_gains_nor_loses_a_turn(run, keys):
    enqueued(run, keys, *(f"a{n}" for n in range(10)))
    enqueued(run, keys, *(f"b{n}" for n in range(10)), user_id="globex")
    joined(run, keys)
    assert ids(claimed(run, keys, limit=2)) == ["a0", "b0"]
    run(pause(keys, "acme", now_ms=NOW))
    assert ids(claimed(run, keys, call=2, limit=4)) == ["b1", "b2", "b3", "b4"]
    run(resume(keys, "acme", now_ms=NOW))

    served = ids(claimed(run, keys, call=3, limit=6))
    assert sorted(id[0] for id in served) == list("aaabbb")


def test_a_rate_that_ran_on_during_a_pause_is_open_afterwards(run, keys):
    enqueued(run, keys, "a", "b", policy=Policy(rate_interval_ms=1_000))
    joined(run, keys)
    claimed(run, keys)
    run(pause(keys, "acme", now_ms=NOW + 1))
    assert ids(claimed(run, keys, call=2, now_ms=NOW + 5_000)) == []
    run(resume(keys, "acme", now_ms=NOW + 5_000))

    assert ids(claimed(run, keys, call=3, now_ms=NOW + 5_000)) == ["b"]


def test_resuming_a_user_that_is_over_its_rate_waits_for_the_rate(run, keys):
    enqueued(run, keys, "a", "b", policy=Policy(rate_interval_ms=1_000))
    joined(run, keys)
    claimed(run, keys)
    run(pause(keys, "acme", now_ms=NOW + 1))
    run(resume(keys, "acme", now_ms=NOW + 2))

    early = claimed(run, keys, call=2, now_ms=NOW + 10)
    assert (ids(early), early.wait_ms) == ([], 990)
    assert ids(claimed(run, keys, call=3, now_ms=NOW + 1_000)) == ["b"]


def test_a_pause_keeps_a_full_backlog_full(run, keys):
    two = Policy(max_backlog=2)
    enqueued(run, keys, "a", "b", policy=two)
    run(pause(keys, "acme", now_ms=NOW))

    with pytest.raises(QueueFull):
        enqueued(run, keys, "c", policy=two)


# Override


def test_an_override_wins_over_the_settings_until_it_is_taken_back(run, keys):
    enqueued(run, keys, "a", "b", "c", "d", policy=ONE_AT_A_TIME)
    joined(run, keys)

    run(override(keys, "acme", Policy(max_concurrency=3), now_ms=NOW))
    assert ids(claimed(run, keys)) == ["a", "b", "c"]
    enqueued(run, keys, "e", policy=ONE_AT_A_TIME)
    assert ids(claimed(run, keys, call=2)) == []

    run(override(keys, "acme", None, now_ms=NOW))
    settled(run, keys, {"a": Finish(), "b": Finish()})
    assert ids(claimed(run, keys, call=3)) == []
    settled(run, keys, {"c": Finish()})
    assert ids(claimed(run, keys, call=4)) == ["d"]


@pytest.mark.parametrize("before", [[], ["old"]], ids=["unknown", "known"])
def test_an_override_survives_until_the_user_comes_and_however_long_it_idles(run, keys, server, before):
    if before:
        used_up(run, keys, *before)
    run(override(keys, "acme", Policy(max_backlog=1), now_ms=NOW))
    if before:
        expired(server, keys.user("acme"))

    with pytest.raises(QueueFull):
        enqueued(run, keys, "a", "b")
    assert enqueued(run, keys, "a").new == 1
    assert run(explain(keys, "acme", now_ms=NOW)).policy == Policy(max_backlog=1)


def test_an_override_is_seen_before_its_user_came(run, keys):
    run(override(keys, "acme", Policy(weight=3), now_ms=NOW))

    assert run(explain(keys, "acme", now_ms=NOW)).policy == Policy(weight=3)


def test_a_cap_set_by_hand_holds_from_the_next_claim_on(run, keys):
    enqueued(run, keys, "a", "b", "c")
    joined(run, keys)
    claimed(run, keys, limit=2)

    run(override(keys, "acme", Policy(max_concurrency=2), now_ms=NOW))

    assert ids(claimed(run, keys, call=2)) == []
    settled(run, keys, {"a": Finish()})
    assert ids(claimed(run, keys, call=3)) == ["c"]


def test_a_rate_set_by_hand_holds_from_the_next_claim_on(run, keys):
    enqueued(run, keys, "a", "b", "c")
    joined(run, keys)
    run(override(keys, "acme", Policy(rate_interval_ms=1_000), now_ms=NOW))

    assert ids(claimed(run, keys)) == ["a"]
    assert ids(claimed(run, keys, call=2, now_ms=NOW + 999)) == []
    assert ids(claimed(run, keys, call=3, now_ms=NOW + 1_000)) == ["b"]


def test_a_rate_taken_away_serves_the_user_at_once(run, keys):
    enqueued(run, keys, "a", "b", policy=Policy(rate_interval_ms=60_000))
    joined(run, keys)
    claimed(run, keys)

    run(override(keys, "acme", Policy(), now_ms=NOW + 1))

    assert ids(claimed(run, keys, call=2, now_ms=NOW + 1)) == ["b"]


@pytest.mark.parametrize("weight", [0.001, 0.3, 3, 1_000_000])
def test_the_weights_of_the_ready_add_up_after_every_change(run, keys, server, weight):
    enqueued(run, keys, "a")
    enqueued(run, keys, "b", user_id="globex", policy=Policy(weight=2))
    run(override(keys, "acme", Policy(weight=weight), now_ms=NOW))
    assert float(server.cli("HGET", keys.clock, "w:default:*")) == pytest.approx(2 + weight)
    run(pause(keys, "globex", now_ms=NOW))
    assert float(server.cli("HGET", keys.clock, "w:default:*")) == pytest.approx(weight)
    run(override(keys, "acme", None, now_ms=NOW))
    run(resume(keys, "globex", now_ms=NOW))
    assert float(server.cli("HGET", keys.clock, "w:default:*")) == pytest.approx(3)

    joined(run, keys)
    claimed(run, keys)
    assert float(server.cli("HGET", keys.clock, "w:default:*")) == pytest.approx(0, abs=1e-9)


def test_a_weight_set_by_hand_gives_that_share(run, keys):
    enqueued(run, keys, *(f"a{n}" for n in range(40)))
    enqueued(run, keys, *(f"b{n}" for n in range(40)), user_id="globex")
    run(override(keys, "acme", Policy(weight=3), now_ms=NOW))
    joined(run, keys)

    served = ids(claimed(run, keys, limit=40))
    assert sum(id.startswith("a") for id in served) in (29, 30, 31)


# The settings' own changes


def test_the_policy_of_the_latest_enqueue_holds(run, keys):
    enqueued(run, keys, "a", "b", "c")
    enqueued(run, keys, "d", policy=Policy(max_concurrency=2))
    joined(run, keys)

    assert ids(claimed(run, keys)) == ["a", "b"]
    enqueued(run, keys, "e", policy=Policy(max_concurrency=3))
    assert ids(claimed(run, keys, call=2)) == ["c"]


def test_a_call_without_anything_new_changes_no_policy(run, keys):
    enqueued(run, keys, "a")
    enqueued(run, keys, "a", policy=ONE_AT_A_TIME)

    assert run(explain(keys, "acme", now_ms=NOW)).policy == Policy()


@pytest.mark.parametrize(
    "wrong",
    [
        {"weight": 0}, {"weight": -1}, {"weight": float("nan")}, {"weight": float("inf")},
        {"max_concurrency": -1}, {"max_backlog": -1}, {"rate_interval_ms": -1}, {"rate_burst": 0},
        {"rate_interval_ms": float("nan")}, {"rate_interval_ms": float("inf")},
    ],
    ids=str,
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(Invalid):
        Policy(**wrong)


# Groups


def test_an_assigned_user_is_served_by_its_worker_from_then_on(run, keys):
    own = Serve(home=(Group("w"),), steal=())
    enqueued(run, keys, "a")
    enqueued(run, keys, "b", user_id="globex")
    joined(run, keys, group="w", serve=own)
    assert ids(claimed(run, keys, serve=own)) == []

    assert run(assign(keys, "w", ["acme", "never"], now_ms=NOW)) == 1
    assert run(assign(keys, "w", ["acme"], now_ms=NOW)) == 0

    assert ids(claimed(run, keys, call=2, serve=own)) == ["a"]


def test_a_user_that_is_assigned_no_longer_moves_back_at_its_next_enqueue(run, keys):
    enqueued(run, keys, "a", group="w")
    enqueued(run, keys, "b", group="*")
    joined(run, keys)

    assert ids(claimed(run, keys, serve=Serve(steal=()))) == ["a", "b"]


def test_a_user_that_moves_leaves_its_old_group_in_every_queue(run, keys, server):
    enqueued(run, keys, "a")
    enqueued(run, keys, "b", queue="mail", group="w")

    assert server.cli("ZRANGE", keys.ready("default", "*"), 0, -1) == []
    assert server.cli("ZRANGE", keys.ready("default", "w"), 0, -1) == [b"acme"]
    assert server.cli("ZRANGE", keys.ready("mail", "w"), 0, -1) == [b"acme"]


def test_moving_an_idle_or_running_or_paused_user_loses_no_task(run, keys):
    own = Serve(home=(Group("w"),), steal=())
    used_up(run, keys, "a", user_id="idle")
    enqueued(run, keys, "b", "c", user_id="paused")
    run(pause(keys, "paused", now_ms=NOW))
    enqueued(run, keys, "d", "e", user_id="capped", policy=ONE_AT_A_TIME)
    claimed(run, keys, call=2)
    run(assign(keys, "w", ["idle", "paused", "capped"], now_ms=NOW))
    run(resume(keys, "paused", now_ms=NOW))
    settled(run, keys, {"d": Retry(10_000)}, call=2)
    enqueued(run, keys, "f", user_id="idle", group="w")

    joined(run, keys, "w2", group="w", serve=own)
    served = [id for call in (1, 2) for id in ids(claimed(run, keys, "w2", call=call, serve=own))]
    assert sorted(served) == ["b", "c", "e", "f"]
    assert in_states(run, keys)["started"] == 4
    assert counts(run, keys).users == 3
