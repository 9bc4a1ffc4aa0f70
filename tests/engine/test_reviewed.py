"""What a review found and other tests would not notice."""

from __future__ import annotations

from dataclasses import replace

from django_fairque.engine.cancel import cancel
from django_fairque.engine.claim import claim
from django_fairque.engine.enqueue import enqueue
from django_fairque.engine.explain import explain
from django_fairque.engine.options import Options
from django_fairque.engine.recover import recover
from django_fairque.engine.renew import join, leave, renew
from django_fairque.engine.serve import Everyone, Group, Serve
from django_fairque.engine.settle import Verdict, settle
from django_fairque.engine.task import Finish, NewTask, Policy, Priority
from django_fairque.engine.workers import pack, workers

from .given import NOW

HOME = Serve(home=(Group("g1"),), steal=())
HELPER = Serve(home=(Group(),), steal=(Everyone(),))


def task(id: str, user: str = "acme", **about) -> NewTask:
    return replace(NewTask(id, "tasks.work", user, b"[[],{}]"), **about)


def begin(run, keys, worker: str, serve: Serve = HELPER, group: str = "") -> None:
    run(join(keys, worker, {"serve": pack(serve)}, group=group, now_ms=NOW))


def take(run, keys, worker: str, call: int, limit: int = 1, serve: Serve = HELPER, now: int = NOW, **more):
    return run(claim(keys, worker, call, limit, serve, now_ms=now, **more))


def test_who_sleeps_hears_of_a_user_that_its_rate_holds_up_for_less_long(run, keys, server):
    slow = Policy(rate_interval_ms=500)
    begin(run, keys, "w")
    run(enqueue(keys, [task("a", policy=slow)], now_ms=NOW))
    take(run, keys, "w", 1)
    assert take(run, keys, "w", 2).wait_ms > 10_000
    server.cli("DEL", keys.bell("default", "*"))

    run(enqueue(keys, [task("b", policy=slow)], now_ms=NOW + 100))

    assert server.cli("LLEN", keys.bell("default", "*")) == 1
    assert take(run, keys, "w", 3, now=NOW + 100).wait_ms == 400


def test_a_claim_that_got_all_it_asked_for_knows_what_is_due_next(run, keys):
    begin(run, keys, "w")
    run(enqueue(keys, [task("a"), task("b", run_at_ms=NOW + 700)], now_ms=NOW))

    got = take(run, keys, "w", 1)

    assert (len(got.tasks), got.more, got.wait_ms) == (1, False, 700)


def test_neither_leaving_nor_recovery_forgives_a_debt(run, keys, server):
    by_time = Options(fairness="time", lease_ms=10_000_000)

    def tag() -> float:
        return float(server.cli("HGET", keys.user("acme"), "t:default"))

    begin(run, keys, "w")
    run(enqueue(keys, [task(str(n), policy=Policy(max_concurrency=1)) for n in range(4)], now_ms=NOW))
    take(run, keys, "w", 1, options=by_time)
    run(settle(keys, "w", [Verdict("0", 1, Finish())], options=by_time, now_ms=NOW + 50_000))
    owed = tag()
    assert owed > 40_000
    take(run, keys, "w", 2, options=by_time, now=NOW + 50_000)
    run(leave(keys, "w", options=by_time, now_ms=NOW + 50_000))
    assert tag() >= owed

    begin(run, keys, "v")
    take(run, keys, "v", 1, options=by_time, now=NOW + 50_000)
    run(recover(keys, "v", options=by_time, now_ms=NOW + 50_001))
    assert tag() >= owed


def test_a_home_worker_that_is_busy_is_alive(run, keys):
    begin(run, keys, "home", HOME, "g1")
    begin(run, keys, "helper")
    mine = [task(f"g{n}", "gu", group="g1") for n in range(4)]
    run(enqueue(keys, mine + [task(f"s{n}", "su") for n in range(4)], now_ms=NOW))
    take(run, keys, "home", 1, serve=HOME)

    run(renew(keys, ["home", "helper"], now_ms=NOW + 5_000))
    got = take(run, keys, "helper", 1, 4, now=NOW + 5_100)

    assert [one.user_id for one in got.tasks] == ["su"] * 4


def test_whoever_serves_everybody_hears_of_a_new_group(run, keys, server):
    begin(run, keys, "helper")
    take(run, keys, "helper", 1)
    server.cli("DEL", keys.bell("default", "*"))

    run(enqueue(keys, [task("a", group="new")], now_ms=NOW))

    assert server.cli("LLEN", keys.bell("default", "*")) == 1


def test_a_worker_of_another_queue_does_not_count_as_serving_the_user(run, keys):
    begin(run, keys, "helper")
    run(enqueue(keys, [task("a", queue="mail")], now_ms=NOW))
    run(enqueue(keys, [task("b", queue="mail")], now_ms=NOW))

    standing = run(explain(keys, "acme", now_ms=NOW))

    assert [place.queue for place in standing.places] == ["mail"]
    assert standing.because(run(workers(keys, now_ms=NOW))) == "No worker is alive that serves it."


def test_canceling_what_lies_in_no_lane_strands_nobody(run, keys, server):
    begin(run, keys, "w")
    run(enqueue(keys, [task("bad"), task("good")], now_ms=NOW))
    server.cli("HDEL", keys.task("bad"), "p")
    take(run, keys, "w", 1)

    assert run(cancel(keys, "bad", now_ms=NOW)) is False
    assert [one.id for one in take(run, keys, "w", 2).tasks] == ["good"]


def test_garbage_among_a_dead_workers_tasks_stops_nobody(run, keys, server):
    begin(run, keys, "w")
    run(enqueue(keys, [task("a")], now_ms=NOW))
    take(run, keys, "w", 1)
    server.cli("HSET", keys.held("w"), "x", "garbage")
    begin(run, keys, "v")

    run(recover(keys, "w", now_ms=NOW))

    assert [one.id for one in take(run, keys, "v", 1).tasks] == ["a"]


def test_hundreds_of_critical_tasks_come_back_in_their_order(run, keys):
    begin(run, keys, "w")
    ids = [f"{n:04}" for n in range(600)]
    run(enqueue(keys, [task(id, priority=Priority.CRITICAL) for id in ids], now_ms=NOW))
    take(run, keys, "w", 1, 600)
    begin(run, keys, "v")

    run(recover(keys, "w", now_ms=NOW))

    assert [one.id for one in take(run, keys, "v", 1, 600).tasks] == ids


def test_a_call_that_is_here_again_minds_no_record_that_has_gone(run, keys, server):
    both = [task("drawn-1"), task("drawn-2")]
    run(enqueue(keys, both, given=False, now_ms=NOW))
    server.cli("DEL", keys.task("drawn-2"))

    again = run(enqueue(keys, both, given=False, now_ms=NOW))

    assert (again.new, again.existing) == (0, ("drawn-1", "drawn-2"))
