from __future__ import annotations

import pytest

from django_fairque.engine.exchange import Exchange, exchange
from django_fairque.engine.options import Options
from django_fairque.engine.recover import recover
from django_fairque.engine.settle import Settled, Verdict
from django_fairque.engine.stats import minute_of, stats
from django_fairque.engine.task import Bury, Finish, Outcome, Park, Policy, Priority, Release, Retry, State

from .given import EVERYBODY, NOW, claimed, enqueued, ids, in_states, joined, names, record, settled, state


def exchanged(run, keys, outcomes, call=2, limit=100, *, earlier=1, now_ms=NOW, **other):
    """Outcomes of the claim before, for the next tasks."""
    verdicts = [Verdict(id, earlier, outcome) for id, outcome in outcomes.items()]
    return run(exchange(keys, "w1", verdicts, call, limit, EVERYBODY, now_ms=now_ms, **other))


def started(run, keys, *tasks: str, limit: int = 100, **other) -> None:
    enqueued(run, keys, *tasks, **other)
    joined(run, keys)
    claimed(run, keys, limit=limit)


def test_outcomes_are_handed_in_and_the_next_tasks_come(run, keys):
    started(run, keys, *"abcd", limit=2)

    answers, claim = exchanged(run, keys, {"a": Finish(b"1" * 100), "b": Bury("no", b"{}")}, limit=1)

    assert answers == [Settled.OK, Settled.OK]
    assert (ids(claim), claim.more, claim.tasks[0].call) == (["c"], True, 2)
    assert record(run, keys, "a").result == b"1" * 100
    assert in_states(run, keys) == {"finished": 1, "failed": 1, "started": 1, "queued": 1}


@pytest.mark.parametrize("payload", [b"short", b"long" * 100], ids=["short", "long"])
def test_it_ends_where_settle_and_claim_would_have_ended(run, keys, server, payload):
    outcomes: dict[str, Outcome] = {
        "a": Finish(b"1"),
        "b": Retry(0, b"e"),
        "c": Park(0, "?"),
        "d": Release(),
        "e": Bury("no"),
    }
    several = {
        "payload": payload,
        "policy": Policy(weight=2, max_concurrency=6, rate_interval_ms=1, rate_burst=9),
    }
    stories = []
    for together in (True, False):
        server.empty()
        started(run, keys, *"abcdefgh", limit=5, **several)
        if together:
            claim = exchanged(run, keys, outcomes, now_ms=NOW + 10).claim
        else:
            settled(run, keys, outcomes, now_ms=NOW + 10)
            claim = claimed(run, keys, call=2, now_ms=NOW + 10)
        told = [record(run, keys, id) for id in "abcdefgh"]
        stored = (
            server.client.hgetall(keys.user("acme")),
            server.client.hgetall(keys.clock),
            names(server, keys),
        )
        stories.append((claim, told, stored, run(stats(keys, since=minute_of(NOW), now_ms=NOW))))

    assert stories[0] == stories[1]


def test_a_slot_that_an_outcome_frees_is_taken_in_the_same_call(run, keys):
    one = Policy(max_concurrency=1)
    started(run, keys, "a", "b", policy=one)

    assert ids(exchanged(run, keys, {"a": Finish()}).claim) == ["b"]


def test_a_released_task_may_come_right_back(run, keys):
    started(run, keys, "a", "b", limit=1, priority=Priority.CRITICAL)

    answers, claim = exchanged(run, keys, {"a": Release()})

    assert (answers, ids(claim)) == ([Settled.OK], ["a", "b"])
    assert settled(run, keys, {"a": Finish()}, call=2) == [Settled.OK]


def test_the_same_exchange_again_changes_nothing_and_gives_the_same(run, keys, server):
    started(run, keys, *"abcdef", limit=2)
    outcomes = {"a": Finish(b"1"), "b": Retry(1_000, b"{}")}
    first = exchanged(run, keys, outcomes, limit=2)
    before, stored = [record(run, keys, id) for id in "abcdef"], server.client.hgetall(keys.user("acme"))

    again = exchanged(run, keys, outcomes, limit=2, now_ms=NOW + 5)

    assert (again.settled, ids(again.claim)) == (first.settled, ids(first.claim))
    assert [record(run, keys, id) for id in "abcdef"] == before
    assert server.client.hgetall(keys.user("acme")) == stored


def test_a_worker_that_was_taken_for_dead_gets_no_task_and_its_outcomes_are_lost(run, keys):
    started(run, keys, "a", "b", limit=1)
    run(recover(keys, "w1", now_ms=NOW))

    assert exchanged(run, keys, {"a": Finish()}) == Exchange([Settled.LOST], None)
    assert in_states(run, keys) == {"queued": 2}


def test_foreign_and_unknown_outcomes_are_lost_and_the_claim_goes_on(run, keys):
    started(run, keys, "a", "b", limit=1)

    answers, claim = exchanged(run, keys, {"unknown": Finish(), "b": Finish(), "a": Finish()})

    assert answers == [Settled.LOST, Settled.LOST, Settled.OK]
    assert ids(claim) == ["b"]


def test_without_outcomes_it_is_a_claim_and_without_slots_a_settle(run, keys):
    started(run, keys, "a", "b", limit=1)

    assert exchanged(run, keys, {}, limit=1).settled == []
    assert exchanged(run, keys, {"a": Finish()}, call=3, limit=0).claim.tasks == []
    assert in_states(run, keys) == {"started": 1, "finished": 1}


def test_what_is_kept_follows_the_settings(run, keys, server):
    brief = Options(result_ttl_ms=5_000, failed_ttl_ms=7_000, finished_limit=1, dead_letter_limit=1)
    started(run, keys, *"abcd", payload=b"x" * 100)

    exchanged(run, keys, {"a": Finish(), "b": Finish(), "c": Bury("no"), "d": Bury("no")}, options=brief)

    assert in_states(run, keys) == {"finished": 1, "failed": 1}
    for key, most in ((keys.task("b"), 5_000), (keys.body("b"), 5_000), (keys.task("d"), 7_000)):
        assert 0 < server.cli("PTTL", key) <= most


def test_an_exchange_takes_back_and_promotes_what_is_due(run, keys):
    started(run, keys, "a", limit=1)
    enqueued(run, keys, "later", run_at_ms=NOW + 1_000)
    joined(run, keys, "w2")
    enqueued(run, keys, "lost", user_id="globex")
    claimed(run, keys, "w2", limit=1)
    run(recover(keys, "w2", now_ms=NOW))

    assert set(ids(exchanged(run, keys, {"a": Finish()}, now_ms=NOW + 1_000).claim)) == {"lost", "later"}
    assert state(run, keys, "a") is State.FINISHED


def test_thousands_are_exchanged_at_once(run, keys):
    many = [f"t{n}" for n in range(4_000)]
    for at in range(0, 4_000, 1_000):
        enqueued(run, keys, *many[at : at + 1_000])
    joined(run, keys)
    claimed(run, keys, limit=2_000)

    answers, claim = exchanged(run, keys, {id: Finish() for id in many[:2_000]}, limit=2_000)

    assert (set(answers), ids(claim)) == ({Settled.OK}, many[2_000:])
