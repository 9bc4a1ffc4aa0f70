"""From settings and a command line to a plan, and what the command says to a wrong one."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from django_fairque import conf
from django_fairque.engine.serve import Everyone, Group, Serve, User
from django_fairque.engine.work.plan import WorkerPlan
from django_fairque.management.serving import Wishes, in_words, plan_of
from django_fairque.users import Users

WORKERS = {
    "worker-001": {
        "assigned_users": ["acme", "globex"],
        "steal_targets": ["worker-002", "initech", "anybody"],
        "queues": ["default", "mail"],
        "processes": 2,
        "concurrency": 7,
    },
    "worker-002": {"assigned_users": ["umbrella"], "steal_targets": ["*"]},
    "anybody": {"assigned_users": "*", "steal_targets": ["acme"]},
}


def plan(**wishes: Any) -> WorkerPlan:
    with override_settings(FAIRQUE={"WORKERS": WORKERS, "CONCURRENCY": 5, "GRACE": 12, "LEASE": 9}):
        settings = conf.current()
        return plan_of(settings, Users(settings), Wishes(**wishes))


def test_without_a_name_it_is_at_home_with_those_who_have_no_worker() -> None:
    made = plan()

    assert made.serve == Serve(("default",), (Group("*"),), (Everyone(),))
    assert (made.processes, made.concurrency, made.grace_s) == (1, 5, 12)
    assert (made.options.lease_ms, made.renew_s) == (9_000, 1.5)
    assert "serves everybody without a worker, then everybody in queue default" in in_words(made)


def test_a_named_worker_serves_its_own_group_then_those_it_may_steal_for() -> None:
    made = plan(name="worker-001")

    assert made.serve == Serve(
        ("default", "mail"),
        (Group("worker-001"),),
        (Group("worker-002"), User("initech"), Group("*")),
    )
    assert (made.name, made.group, made.assigned) == ("worker-001", "worker-001", ("acme", "globex"))
    assert (made.processes, made.concurrency) == (2, 7)
    assert made.reach == ("*",)


def test_a_worker_for_everybody_has_nobody_to_steal_for() -> None:
    made = plan(name="anybody")

    assert made.serve == Serve(("default",), (Everyone(),), ())
    assert made.group == ""


def test_the_command_line_wins() -> None:
    made = plan(
        name="worker-001", users=("acme", "umbrella"), steal="*", queues=("x",), processes=3, concurrency=1
    )

    assert made.serve == Serve(("x",), (User("acme"), User("umbrella")), (Everyone(),))
    assert (made.processes, made.concurrency, made.group) == (3, 1, "")
    assert made.reach == ("worker-001", "worker-002")


def test_users_alone_are_served_and_nobody_else() -> None:
    assert plan(users=("acme",)).serve == Serve(("default",), (User("acme"),), ())


def test_leases_are_renewed_three_times_in_their_time_where_nobody_watches() -> None:
    with override_settings(FAIRQUE={"LEASE": 9}):
        settings = conf.current()
        assert plan_of(settings, Users(settings), Wishes()).renew_s == 3.0


def test_leases_are_renewed_every_second_where_time_is_shared() -> None:
    with override_settings(FAIRQUE={"FAIRNESS": "time"}):
        settings = conf.current()
        assert plan_of(settings, Users(settings), Wishes()).renew_s == 1.0


def test_an_unknown_name_gets_the_names_there_are() -> None:
    with pytest.raises(CommandError) as caught:
        plan(name="worker-01")

    assert str(caught.value) == (
        "FAIRQUE['WORKERS'] has no worker named 'worker-01'. Did you mean 'worker-001'? "
        "It names: anybody, worker-001, worker-002."
    )


@pytest.mark.parametrize(
    "options",
    [
        ["--processes", "0"],
        ["--concurrency", "many"],
        ["--max-tasks", "-1"],
        ["--grace", "-1"],
        ["--users", "a,,b"],
        ["--users", "*,a"],
        ["--queues", ""],
        ["--queues", "x" * 200],
        ["nobody"],
    ],
    ids=" ".join,
)
def test_a_command_line_that_makes_no_sense_starts_nothing(options: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("fairque_worker", *options)
