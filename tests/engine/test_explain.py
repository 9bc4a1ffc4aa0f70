from __future__ import annotations

import pytest

from django_fairque.engine.explain import explain
from django_fairque.engine.policy import pause
from django_fairque.engine.serve import Everyone, Group, Serve, User
from django_fairque.engine.task import Policy, Priority
from django_fairque.engine.workers import workers

from .given import NOW, claimed, enqueued, joined


def because(run, keys, user_id="acme", now_ms=NOW):
    standing = run(explain(keys, user_id, now_ms=now_ms))
    return standing.because(run(workers(keys, now_ms=now_ms)))


# The sentences


@pytest.mark.parametrize("before", ["never came", "runs", "idles"])
def test_nothing_is_waiting(run, keys, before):
    if before != "never came":
        enqueued(run, keys, "a")
        joined(run, keys)
        claimed(run, keys)

    assert because(run, keys) == "Nothing is waiting."


def test_scheduled_for_later(run, keys):
    enqueued(run, keys, "a", "b", run_at_ms=NOW + 1_000)
    joined(run, keys)

    assert because(run, keys) == "Its 2 waiting tasks are scheduled for later."


def test_scheduled_and_nobody_there_to_start_it(run, keys):
    enqueued(run, keys, "a", "b", run_at_ms=NOW + 1_000)

    text = "Its 2 waiting tasks are scheduled; no worker is alive to start them."
    assert because(run, keys) == text
    joined(run, keys)
    assert because(run, keys, now_ms=NOW + 3_600_000) == text


def test_paused(run, keys):
    enqueued(run, keys, "a", "b")
    joined(run, keys)
    run(pause(keys, "acme", now_ms=NOW))

    assert because(run, keys) == "It is paused; 2 tasks wait until it is resumed."


def test_at_its_cap(run, keys):
    enqueued(run, keys, "a", "b", "c", policy=Policy(max_concurrency=2))
    joined(run, keys)
    claimed(run, keys)

    assert because(run, keys) == "It runs 2 tasks, as many as it may; 1 wait for one to end."


def test_nobody_alive_serves_it(run, keys):
    enqueued(run, keys, "a")

    assert because(run, keys) == "No worker is alive that serves it."


def test_the_workers_that_served_it_are_dead(run, keys):
    enqueued(run, keys, "a")
    joined(run, keys)

    assert because(run, keys, now_ms=NOW + 3_600_000) == "No worker is alive that serves it."


@pytest.mark.parametrize(
    "serve",
    [
        Serve(queues=("mail",)), Serve(home=(Group("*"),), steal=()), Serve(home=(User("globex"),), steal=()),
        Serve(home=(), steal=()),
    ],
    ids=["other queue", "other group", "other user", "nobody"],
)  # fmt: skip
def test_the_worker_it_is_assigned_to_is_not_there(run, keys, serve):
    enqueued(run, keys, "a", group="web-1")
    joined(run, keys, serve=serve)

    assert because(run, keys) == "No worker is alive that serves it. It is assigned to worker 'web-1'."


@pytest.mark.parametrize(
    "serve",
    [
        Serve(home=(Group("web-1"),), steal=()), Serve(home=(Group("x"),), steal=(Everyone(),)),
        Serve(home=(Group("x"),), steal=(User("acme"),)), Serve(queues=("mail", "default")),
    ],
    ids=["its own", "steals from all", "steals from it", "two queues"],
)  # fmt: skip
def test_a_worker_that_serves_it_is_found(run, keys, serve):
    enqueued(run, keys, "a", group="web-1")
    joined(run, keys, serve=serve)

    assert because(run, keys) == "It is ready and next in turn; it waits for a free slot of a worker."


def test_over_its_rate(run, keys):
    enqueued(run, keys, "a", "b", policy=Policy(rate_interval_ms=60_000))
    joined(run, keys)
    claimed(run, keys)

    assert because(run, keys, now_ms=NOW + 500) == "It is over its rate; its next task may start in 59.5 s."


def test_about_to_become_ready(run, keys):
    enqueued(run, keys, "a", "b", policy=Policy(rate_interval_ms=1_000))
    joined(run, keys)
    claimed(run, keys)

    assert because(run, keys, now_ms=NOW + 1_000) == "It is about to become ready."


def test_next_in_turn(run, keys):
    enqueued(run, keys, "a")
    joined(run, keys)

    assert because(run, keys) == "It is ready and next in turn; it waits for a free slot of a worker."


@pytest.mark.parametrize(("others", "text"), [(1, "1 other user"), (12, "12 other users")])
def test_behind_others(run, keys, others, text):
    for n in range(others):
        enqueued(run, keys, f"t{n}", user_id=f"user{n}")
    enqueued(run, keys, "a")
    joined(run, keys)

    assert because(run, keys) == f"It is ready, behind {text}."


# The facts


def test_a_standing_tells_the_facts(run, keys):
    policy = Policy(weight=0.5, max_concurrency=3, rate_interval_ms=600.5, rate_burst=4, max_backlog=50)
    enqueued(run, keys, "a", "b", "c", policy=policy)
    enqueued(run, keys, "m1", "m2", queue="mail:*", policy=policy, now_ms=NOW + 400)
    enqueued(run, keys, "later", run_at_ms=NOW + 9_000, policy=policy)
    enqueued(run, keys, "other", user_id="globex")
    joined(run, keys)
    claimed(run, keys, limit=1)

    found = run(explain(keys, "acme", now_ms=NOW + 1_000))

    assert (found.user_id, found.policy, found.group) == ("acme", policy, "*")
    assert (found.waiting, found.running, found.queued, found.paused, found.at_cap) == (5, 1, 4, False, False)
    places = {place.queue: place for place in found.places}
    assert (places["default"].waiting, places["default"].ahead, places["default"].ready) == (2, 1, 2)
    assert (places["mail:*"].waiting, places["mail:*"].ahead, places["mail:*"].ready) == (2, 0, 1)
    assert (places["default"].oldest_ms, places["mail:*"].oldest_ms) == (1_000, 600)


def test_the_oldest_is_the_task_that_is_next(run, keys):
    enqueued(run, keys, "normal")
    enqueued(run, keys, "critical", priority=Priority.CRITICAL, now_ms=NOW + 700)

    assert run(explain(keys, "acme", now_ms=NOW + 1_000)).places[0].oldest_ms == 300


def test_a_user_may_be_called_anything(run, keys):
    enqueued(run, keys, "a", user_id="a:b{*}\n🦜", group="{web}:1")
    joined(run, keys, serve=Serve(home=(User("a:b{*}\n🦜"),), steal=()))

    found = run(explain(keys, "a:b{*}\n🦜", now_ms=NOW))
    assert (found.user_id, found.group) == ("a:b{*}\n🦜", "{web}:1")
    assert found.because(run(workers(keys, now_ms=NOW))).startswith("It is ready")


def test_explaining_changes_nothing(run, keys, server):
    enqueued(run, keys, "a", "b", policy=Policy(rate_interval_ms=1_000))
    joined(run, keys)
    claimed(run, keys)
    before = server.cli("DUMP", keys.user("acme")), server.cli("DUMP", keys.clock)

    because(run, keys, now_ms=NOW + 5_000)
    run(explain(keys, "never", now_ms=NOW))

    assert (server.cli("DUMP", keys.user("acme")), server.cli("DUMP", keys.clock)) == before
    assert server.cli("EXISTS", keys.user("never")) == 0
