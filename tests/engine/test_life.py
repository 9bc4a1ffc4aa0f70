"""Nothing is silently stuck: a worker that sleeps as long as it is told brings every task to its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_fairque.engine.cancel import cancel
from django_fairque.engine.enqueue import enqueue
from django_fairque.engine.errors import LeaseLost
from django_fairque.engine.explain import explain
from django_fairque.engine.keys import Keys
from django_fairque.engine.options import Options
from django_fairque.engine.policy import assign, override, pause, resume
from django_fairque.engine.recover import recover
from django_fairque.engine.renew import leave, renew
from django_fairque.engine.serve import Everyone, Group, Serve
from django_fairque.engine.settle import Settled
from django_fairque.engine.task import Bury, Claimed, Finish, Park, Policy, Priority, Release, Retry, State
from tests.conftest import Run

from .given import NOW, claimed, counts, ids, joined, new, record, settled

LEASE = 30_000
QUEUES = ("default", "mail")
USERS = ["u1", "u2", "u3"]
POLICIES = [
    Policy(),
    Policy(weight=3),
    Policy(max_concurrency=1),
    Policy(max_concurrency=2, weight=0.5),
    Policy(rate_interval_ms=700.5, rate_burst=2),
    Policy(rate_interval_ms=5_000, max_concurrency=1),
]
SERVES = {
    "w": Serve(queues=QUEUES),
    "web": Serve(queues=QUEUES, home=(Group("web"),), steal=(Everyone(),)),
    "picky": Serve(queues=("mail", "default"), home=(Group("web"),), steal=()),
}
OUTCOMES = st.sampled_from(
    [Finish(b"1"), Finish(b"1" * 100), Retry(0), Retry(3_000, b"e"), Bury("no"), Release(), Park(900, "?")]
)

steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("enqueue"), st.sampled_from(USERS), st.sampled_from(QUEUES), st.integers(1, 4),
            st.sampled_from([0, 0, 5, Priority.CRITICAL]), st.sampled_from([None, None, 1_500, 40_000]),
            st.sampled_from(POLICIES), st.sampled_from(["*", "web"]),
        ),
        st.tuples(st.just("claim"), st.sampled_from([*SERVES]), st.integers(1, 5)),
        st.tuples(st.just("claim"), st.sampled_from([*SERVES]), st.integers(1, 5)),
        st.tuples(st.just("settle"), st.sampled_from([*SERVES]), OUTCOMES, st.integers(1, 3)),
        st.tuples(st.just("settle"), st.sampled_from([*SERVES]), OUTCOMES, st.integers(1, 3)),
        st.tuples(st.just("cancel"), st.integers(0, 20)),
        st.tuples(st.sampled_from(["recover", "leave", "vanish"]), st.sampled_from([*SERVES])),
        st.tuples(st.sampled_from(["pause", "resume"]), st.sampled_from(USERS)),
        st.tuples(st.just("override"), st.sampled_from(USERS), st.sampled_from([None, *POLICIES])),
        st.tuples(st.just("assign"), st.sampled_from(["*", "web"]), st.sampled_from(USERS)),
        st.tuples(st.just("wait"), st.sampled_from([1, 700, 4_000])),
    ),
    min_size=8,
    max_size=40,
)  # fmt: skip


@dataclass
class Site:
    """A site whose workers and users do as the steps say."""

    run: Run
    keys: Keys
    options: Options
    now: int = NOW
    tasks: list[str] = field(default_factory=list)
    alive: dict[str, str] = field(default_factory=dict)
    held: dict[str, list[Claimed]] = field(default_factory=dict)
    calls: int = 0
    born: int = 0

    @property
    def here(self) -> dict[str, Any]:
        """What all steps have in common."""
        return {"now_ms": self.now, "options": self.options}

    def do(self, step: tuple) -> None:
        getattr(self, step[0])(*step[1:])

    def enqueue(self, user, queue, count, priority, delay, policy, group):
        due = None if delay is None else self.now + delay
        first = len(self.tasks)
        same = {"user_id": user, "queue": queue, "priority": priority, "policy": policy, "group": group}
        several = [new(f"t{first + n}", run_at_ms=due, **same) for n in range(count)]
        self.run(enqueue(self.keys, several, **self.here))
        self.tasks += [task.id for task in several]

    def incarnation(self, worker: str) -> str:
        if worker not in self.alive:
            self.born += 1
            self.alive[worker] = f"{worker}-{self.born}"
            group = "" if worker == "w" else "web"
            joined(self.run, self.keys, self.alive[worker], group=group, **self.here)
        return self.alive[worker]

    def claim(self, worker, limit):
        self.calls += 1
        id = self.incarnation(worker)
        try:
            got = claimed(self.run, self.keys, id, self.calls, limit, serve=SERVES[worker], **self.here)
        except LeaseLost:
            self.forget(worker)
            return None
        assert len(got.tasks) <= limit
        self.held.setdefault(id, []).extend(got.tasks)
        return got

    def settle(self, worker, outcome, count):
        mine = self.held.get(self.alive.get(worker, ""), [])
        some, self.held[self.alive.get(worker, "")] = mine[:count], mine[count:]
        for task in some:
            settled(self.run, self.keys, {task.id: outcome}, self.alive[worker], task.call, **self.here)

    def forget(self, worker):
        self.held.pop(self.alive.pop(worker, ""), None)

    vanish = forget

    def cancel(self, n):
        self.run(cancel(self.keys, f"t{n}", now_ms=self.now))

    def recover(self, worker):
        self.run(recover(self.keys, self.alive.get(worker), **self.here))
        self.forget(worker)

    def leave(self, worker):
        self.run(leave(self.keys, self.incarnation(worker), now_ms=self.now))
        self.forget(worker)

    def pause(self, user):
        self.run(pause(self.keys, user, now_ms=self.now))

    def resume(self, user):
        self.run(resume(self.keys, user, **self.here))

    def override(self, user, policy):
        self.run(override(self.keys, user, policy, **self.here))

    def assign(self, group, user):
        self.run(assign(self.keys, group, [user], **self.here))

    def wait(self, ms):
        self.now += ms
        self.run(renew(self.keys, [*self.alive.values()], **self.here))

    def drain(self) -> int:
        """One worker ends everything, and sleeps as long as it is told. How often it had to ask."""
        for user in USERS:
            self.resume(user)
        for worker in [*self.alive]:
            self.forget(worker)
        joined(self.run, self.keys, "last", **self.here)
        asked = 0
        while counts(self.run, self.keys, self.now).users and asked < 400:
            asked += 1
            self.calls += 1
            got = claimed(self.run, self.keys, "last", self.calls, 3, serve=SERVES["w"], **self.here)
            ends = {id: Finish() for id in ids(got)}
            answers = settled(self.run, self.keys, ends, "last", self.calls, **self.here)
            assert set(answers) <= {Settled.OK}
            if not got.tasks:
                assert got.wait_ms is not None
                self.now += min(max(got.wait_ms, 1), LEASE // 3)
                self.run(renew(self.keys, ["last"], **self.here))
        return asked


def lives(run, keys, server, steps, options):
    server.empty()
    site = Site(run, keys, options)
    for step in steps:
        site.do(step)
    asked = site.drain()

    assert asked < 400, [run(explain(keys, user, now_ms=site.now)) for user in USERS]
    ends = [record(run, keys, id).state for id in site.tasks]
    assert set(ends) <= {State.FINISHED, State.FAILED, State.CANCELED}
    found = counts(run, keys, site.now).states
    assert {state: n for state, n in found.items() if n} == {state: ends.count(state) for state in set(ends)}
    clock = server.client.hgetall(keys.clock)
    assert all(float(value) == 0 for name, value in clock.items() if name.startswith((b"w:", b"q:")))
    for user in USERS:
        counters = server.cli(
            "HMGET", keys.user(user), "n", "f", "n:default", "n:mail", "c:default", "c:mail"
        )
        assert {int(value or 0) for value in counters} == {0}
        assert server.cli("PTTL", keys.user(user)) != -1


@hypothesis_settings(max_examples=40)
@given(steps)
def test_every_task_comes_to_its_end(run, keys, server, steps):
    lives(run, keys, server, steps, Options(lease_ms=LEASE))


@hypothesis_settings(max_examples=25)
@given(steps)
def test_every_task_comes_to_its_end_when_time_is_the_measure(run, keys, server, steps):
    lives(run, keys, server, steps, Options(lease_ms=LEASE, fairness="time"))
