from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_fairque.engine.recover import recover
from django_fairque.engine.renew import join, leave
from django_fairque.engine.serve import Everyone, Group, Serve, User
from django_fairque.engine.workers import pack, unpack, workers

from .given import NOW, claimed, enqueued, joined

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
TARGETS = st.lists(
    st.one_of(st.builds(Group, NAMES), st.builds(User, NAMES), st.just(Everyone())), max_size=4
)


def test_a_worker_tells_about_itself_how_long_it_lives_and_what_it_runs(run, keys):
    serve = Serve(queues=("default", "mail"), home=(Group("web-1"),), steal=(User("a b"), Everyone()))
    about = {"serve": pack(serve), "name": "web-1", "host": "été", "pid": "7", "version": "0.1"}
    run(join(keys, "w1", about, group="web-1", now_ms=NOW))
    enqueued(run, keys, "a", "b", "c")
    claimed(run, keys, limit=2)

    (found,) = run(workers(keys, now_ms=NOW + 10_000))

    assert (found.id, found.lease_ms, found.running) == ("w1", 20_000, 2)
    assert found.serve == serve
    assert about.items() | {("since", str(NOW))} <= found.about.items()


def test_workers_come_by_the_end_of_their_leases_and_in_pages(run, keys):
    for n in range(5):
        joined(run, keys, f"w{n}", now_ms=NOW + 100 - n)

    everybody = [found.id for found in run(workers(keys, now_ms=NOW))]
    assert everybody == ["w4", "w3", "w2", "w1", "w0"]
    assert [found.id for found in run(workers(keys, first=1, last=2, now_ms=NOW))] == everybody[1:3]
    assert run(workers(keys, first=5, now_ms=NOW)) == []


def test_a_worker_that_left_or_was_recovered_is_not_listed(run, keys):
    for worker in ("w1", "w2", "w3"):
        joined(run, keys, worker)
    run(leave(keys, "w1", now_ms=NOW))
    run(recover(keys, "w2", now_ms=NOW))

    assert [found.id for found in run(workers(keys, now_ms=NOW))] == ["w3"]


def test_a_worker_that_is_overdue_says_by_how_much(run, keys):
    joined(run, keys)

    assert run(workers(keys, now_ms=NOW + 31_000))[0].lease_ms == -1_000


def test_a_worker_that_said_nothing_of_itself_serves_nobody(run, keys):
    run(join(keys, "w1", now_ms=NOW))

    assert run(workers(keys, now_ms=NOW))[0].serve == Serve(queues=(), home=(), steal=())


@pytest.mark.parametrize("serve", [Serve(), Serve(queues=(), home=(), steal=())])
def test_whom_a_worker_serves_is_read_as_it_was_said(serve):
    assert unpack(pack(serve)) == serve


@given(st.lists(NAMES, max_size=3), TARGETS, TARGETS)
def test_any_names_may_be_served(queues, home, steal):
    serve = Serve(tuple(queues), tuple(home), tuple(steal))

    assert unpack(pack(serve)) == serve
