"""Whatever happens in whatever order: no task is lost or doubled, and every count and place is true."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import suppress
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from django_fairque.engine.cancel import cancel
from django_fairque.engine.errors import LeaseLost, QueueFull
from django_fairque.engine.keys import encode
from django_fairque.engine.options import Options
from django_fairque.engine.policy import assign, override, pause, resume
from django_fairque.engine.recover import recover
from django_fairque.engine.renew import leave, renew
from django_fairque.engine.serve import Everyone, Group, Serve
from django_fairque.engine.settle import Settled
from django_fairque.engine.task import Bury, Claimed, Finish, Park, Policy, Priority, Release, Retry
from tests.server import Server

from .conftest import MakeWorld
from .names import crowds
from .truth import TERMINAL, Truth

OUTCOMES = (Finish(), Finish(b"x" * 100), Retry(0, b"e"), Retry(700), Bury("no"), Release(), Park(50, "?"))
POLICIES = (
    Policy(),
    Policy(0.3),
    Policy(2.5, max_concurrency=1),
    Policy(max_concurrency=3),
    Policy(rate_interval_ms=40.0),
    Policy(7, rate_interval_ms=333.3, rate_burst=3, max_concurrency=2),
    Policy(max_backlog=6),
)
SERVES = (
    Serve(),
    Serve(queues=("default", "mail"), steal=()),
    Serve(queues=("mail", "default"), home=(Group("one"),), steal=(Everyone(),)),
    Serve(home=(Group("one"),), steal=()),
)
users = st.integers(0, 3)
workers = st.integers(0, 2)
policies = st.sampled_from(POLICIES)


class Anything(RuleBasedStateMachine):
    """Producers, workers, operators and time, in any order."""

    make: MakeWorld
    server: Server
    options = Options()

    @initialize(names=crowds(4, 4))
    def begin(self, names: list[str]) -> None:
        self.w = self.make(options=self.options)
        self.names = names
        self.workers = ["w0", "w1", "w2"]
        self.born = 3
        self.ids: list[str] = []
        self.held: dict[str, list[Claimed]] = defaultdict(list)
        self.old: list[tuple[str, Claimed, Any]] = []
        self.times: dict[str, float] = {}
        self.ended: dict[str, str] = {}

    def _reborn(self, which: int) -> None:
        self.held.pop(self.workers[which], None)
        self.workers[which] = f"w{self.born}"
        self.born += 1

    @rule(
        user=users,
        number=st.integers(1, 9),
        priority=st.sampled_from((0, 0, -100, 5, Priority.CRITICAL)),
        queue=st.sampled_from(("default", "default", "mail")),
        delay=st.sampled_from((None, None, None, -5, 30, 2_000)),
        policy=policies,
        group=st.sampled_from(("*", "*", "one")),
        size=st.sampled_from((2, 300)),
    )
    def enqueue(self, user, number, priority, queue, delay, policy, group, size):
        due = None if delay is None else self.w.now_ms + delay
        about = {"priority": priority, "queue": queue, "run_at_ms": due, "policy": policy, "group": group}
        with suppress(QueueFull):
            self.ids += self.w.add(self.names[user], number, **about)

    @rule(which=workers, limit=st.integers(0, 12), serve=st.sampled_from(SERVES))
    def claim(self, which, limit, serve):
        name = self.workers[which]
        try:
            tasks = self.w.claimed(limit, name, serve)
        except LeaseLost:
            self._reborn(which)
            return
        assert len(tasks) <= limit
        assert len({task.id for task in tasks}) == len(tasks)
        self.held[name] += tasks

    @rule(which=workers, outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=4), first=users)
    def settle(self, which, outcomes, first):
        name = self.workers[which]
        mine = self.held[name][first:]
        for outcome, task in zip(outcomes, mine, strict=False):
            # A finished task may have been taken from a worker that was silent for too long.
            [said] = self.w.settled([task], outcome, name)
            self.held[name].remove(task)
            self.old.append((name, task, outcome))
            if said is Settled.OK and isinstance(outcome, (Finish, Bury)):
                assert task.id not in self.ended
                self.ended[task.id] = "finished" if isinstance(outcome, Finish) else "failed"

    @rule(which=st.integers(0, 50))
    def settle_again(self, which):
        """A reply was lost, so the verdict comes twice; the second changes nothing."""
        if self.old:
            name, task, outcome = self.old[which % len(self.old)]
            before = self._truth().all
            self.w.settled([task], outcome, name) if name in self.w.held else None
            assert self._truth().all == before

    @rule(which=st.integers(0, 200))
    def cancel(self, which):
        if self.ids:
            id = self.ids[which % len(self.ids)]
            if self.w.run(cancel(self.w.keys, id, now_ms=self.w.now_ms)):
                assert self.ended.get(id, "canceled") == "canceled"
                self.ended[id] = "canceled"

    @rule(user=users, stop=st.booleans())
    def pause(self, user, stop):
        self.w.run((pause if stop else resume)(self.w.keys, self.names[user], now_ms=self.w.now_ms))

    @rule(user=users, policy=st.one_of(st.none(), policies))
    def override(self, user, policy):
        self.w.run(override(self.w.keys, self.names[user], policy, now_ms=self.w.now_ms))

    @rule(some=st.sets(users), group=st.sampled_from(("*", "one")))
    def assign(self, some, group):
        names = [self.names[user] for user in some]
        self.w.run(assign(self.w.keys, group, names, now_ms=self.w.now_ms))

    @rule(which=workers, how=st.sampled_from(("leave", "die", "silent")))
    def end_worker(self, which, how):
        name = self.workers[which]
        if how == "leave":
            self.w.run(leave(self.w.keys, name, now_ms=self.w.now_ms))
        elif how == "die":
            self.w.killed(name)
        self._reborn(which)

    @rule(limit=st.integers(1, 5))
    def recover(self, limit):
        self.w.run(recover(self.w.keys, limit=limit, options=self.options, now_ms=self.w.now_ms))

    @rule()
    def renew(self):
        living = [name for name in self.workers if name in self.w.held]
        lost = self.w.run(renew(self.w.keys, living, options=self.options, now_ms=self.w.now_ms))
        for name in lost:
            self._reborn(self.workers.index(name))

    @rule(ms=st.sampled_from((1, 20, 300, 1_500, 12_000)))
    def pass_time(self, ms):
        self.w.passes(ms)

    def _truth(self) -> Truth:
        return Truth(self.server, self.w.keys, self.w.now_ms)

    @invariant()
    def all_is_true(self):
        if not hasattr(self, "w"):
            return
        truth = self._truth()
        truth.check()
        places = truth.places()
        assert set(places) == set(self.ids), "lost or invented"
        ended = {id: where[0][0] for id, where in places.items() if where[0][0] in TERMINAL}
        assert {id: ended.get(id) for id in self.ended} == self.ended
        times = truth.virtual_times()
        assert all(times[place] >= before for place, before in self.times.items())
        self.times = times

    def teardown(self):
        """At last everything that may run is run, and every task has ended."""
        if not hasattr(self, "w"):
            return
        for user in self.names:
            self.w.run(resume(self.w.keys, user, now_ms=self.w.now_ms))
            self.w.run(override(self.w.keys, user, Policy(), now_ms=self.w.now_ms))
        self.w.passes(2 * self.options.lease_ms)
        everything = Serve(queues=("default", "mail"))
        for _ in range(200):
            self.w.passes(2_000)
            answer = self.w.asked(50, "last", everything)
            self.w.settled(answer.tasks, worker="last")
            if not answer.tasks and set(self._truth().states()) <= set(TERMINAL):
                break
        truth = self._truth()
        truth.check()
        assert truth.states() == Counter(where[0][0] for where in truth.places().values())
        assert set(truth.states()) <= set(TERMINAL), truth.states()
        assert set(truth.places()) == set(self.ids)
        assert not truth.all.get("users") and not any(truth.held.values())
        assert {encode(name) for name in self.names} >= set(truth.users)


def explored(make: MakeWorld, server: Server, **options: Any) -> None:
    """Run the machine as often as the everyday run can afford."""
    about = {
        "make": staticmethod(make),
        "server": server,
        "options": Options(lease_ms=10_000, max_deliveries=3, **options),
    }
    kind = type("Machine", (Anything,), about)
    deep = settings.get_current_profile_name() == "deep"
    run_state_machine_as_test(
        kind, settings=settings(max_examples=800 if deep else 30, stateful_step_count=35)
    )


def test_every_count_and_place_is_true_after_every_step(world: MakeWorld, server: Server):
    explored(world, server)


def test_the_same_when_time_is_shared(world: MakeWorld, server: Server):
    explored(world, server, fairness="time", debt_limit=0.5)
