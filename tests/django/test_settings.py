"""``FAIRQUE``: what is accepted, and what each mistake is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_fairque import conf, site
from django_fairque.engine.errors import Invalid
from django_fairque.engine.task import Policy
from django_fairque.users import Users
from django_fairque.validate import rate_interval_ms, read
from tests.app import tasks


def asked(user_id: str) -> dict[str, Any] | None:
    """Policies of users, for the setting ``USERS``."""
    return {"nobody": None, "bad": {"weight": -1}}.get(user_id, {"weight": len(user_id)})


WRONG = [
    ("a list", ["URL"], "E001", "dictionary"),
    ("unknown key", {"URLS": "redis://"}, "E001", "'URL'"),
    ("lower case", {"prefix": "x"}, "E001", "'PREFIX'"),
    ("nothing like it", {"zzzzzzzz": 1}, "E001", "Known are"),
    ("no number", {"PARTITIONS": "8"}, "E002", "Write a whole number between 1 and 1,024."),
    ("a truth for a number", {"LEASE": True}, "E002", "Write a number of seconds between 1 and 86,400."),
    ("too many partitions", {"PARTITIONS": 1_025}, "E002", "1,024"),
    ("zero seconds", {"RESULT_TTL": 0}, "E002", "Write a number of seconds above 0 and at most"),
    ("bad prefix", {"PREFIX": "a{b}"}, "E002", "1 to 64 letters, digits, or any of _.:-"),
    ("no such fairness", {"FAIRNESS": "nice"}, "E002", "Write one of 'turns', 'time'."),
    ("empty default user", {"DEFAULT_USER": ""}, "E002", "a string that is not empty"),
    ("default user too long", {"DEFAULT_USER": "x" * 600}, "E002", "512"),
    ("no scheme", {"URL": "localhost:6379"}, "E003", "FAIRQUE['URL'] must begin with"),
    ("a server alone", {"URL": "localhost:6379"}, "E003", "Write 'redis://localhost:6379/0'."),
    ("a port that is none", {"URL": "redis://h:99999/0"}, "E003", "port"),
    ("users of no kind", {"USERS": 7}, "E006", "function"),
    ("no such function", {"USERS": "tests.nowhere.policy"}, "E006", "ModuleNotFoundError"),
    ("user of no kind", {"USERS": {"acme": 3}}, "E004", "dictionary"),
    ("empty user id", {"USERS": {"": {}}}, "E004", "empty"),
    ("user id of no kind", {"USERS": {7: {}}}, "E004", "string"),
    ("misspelt", {"USERS": {"acme": {"wieght": 3}}}, "E004", "'weight'"),
    ("negative weight", {"USERS": {"acme": {"weight": -1}}}, "E004", "0.001"),
    (
        "no concurrency",
        {"USERS": {"acme": {"max_concurrency": 0}}},
        "E004",
        "number of at least 1, or None",
    ),
    ("unreadable rate", {"USERS": {"acme": {"rate": "fast"}}}, "E005", "100/m"),
    ("a number for a rate", {"USERS": {"acme": {"rate": 100}}}, "E005", "'100/m'"),
    ("no rate at all", {"USERS": {"acme": {"rate": "0/m"}}}, "E005", "100/m"),
    ("workers of no kind", {"WORKERS": []}, "E007", "dictionary"),
    ("worker named everybody", {"WORKERS": {"*": {}}}, "E007", "'*'"),
    ("misspelt target", {"WORKERS": {"w": {"steal": ["a"]}}}, "E007", "steal_targets"),
    (
        "users not in a list",
        {"WORKERS": {"w": {"assigned_users": "acme"}}},
        "E007",
        'list: ["acme"], or "*".',
    ),
    ("queues not in a list", {"WORKERS": {"w": {"queues": "mail"}}}, "E007", 'Write a list: ["mail"].'),
    ("users of a worker", {"WORKERS": {"w": {"users": ["acme"]}}}, "E007", "Did you mean 'assigned_users'?"),
    ("no queue", {"WORKERS": {"w": {"queues": []}}}, "E007", "a list of strings that is not empty"),
    ("empty queue", {"WORKERS": {"w": {"queues": [""]}}}, "E007", "empty"),
    (
        "two owners",
        {"WORKERS": {"one": {"assigned_users": ["acme"]}, "two": {"assigned_users": ["acme"]}}},
        "E008",
        "'acme'",
    ),
    ("misspelt file", {"URL": "rediss://h", "TLS": {"CAS": "x"}}, "E009", "'CA'"),
    ("file is not there", {"URL": "rediss://h", "TLS": {"CA": "/no/such.pem"}}, "E009", "/no/such.pem"),
    ("key alone", {"URL": "rediss://h", "TLS": {"KEY": __file__}}, "E009", "CERT"),
    ("TLS without TLS", {"URL": "redis://h", "TLS": {"CA": __file__}}, "E009", "rediss://"),
]


@pytest.mark.parametrize(("raw", "check", "told"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_mistake_is_found_by_check_and_by_use_with_the_same_text(raw: Any, check: str, told: str) -> None:
    with override_settings(FAIRQUE=raw):
        (error,) = run_checks(tags=["fairque"])
        assert error.id == f"fairque.{check}"
        assert told in f"{error.msg} {error.hint}"
        with pytest.raises(ImproperlyConfigured) as caught:
            tasks.add.enqueue(1)
    assert str(error.msg) in str(caught.value) and error.id in str(caught.value)


def test_every_mistake_is_told_at_once_and_the_rest_is_used() -> None:
    found, problems = read(
        {"LEASE": "long", "PREFX": "x", "USERS": {"a": {"weight": 0}, "b": {"rate": "1/x"}}, "GRACE": 5}
    )

    assert [p.id[-4:] for p in problems] == ["E002", "E001", "E004", "E005"]
    assert found.grace == 5


def test_a_url_s_secret_is_not_told() -> None:
    for url in ("redis://me:secret@h:port/0", "me:secret@h:6379", "secret", ":secret@h"):
        _, problems = read({"URL": url})
        assert problems and not any("secret" in f"{p.text} {p.hint}" for p in problems)


def test_a_long_value_is_not_repeated() -> None:
    _, problems = read({"PREFIX": "x" * 100_000})
    assert all(len(p.text + p.hint) < 500 for p in problems)


def test_nothing_at_all_is_a_valid_setting() -> None:
    found, problems = read({})
    assert not problems
    assert (found.url, found.prefix, found.partitions, found.lease) == ("embedded://", "fq", 1, 30)


def test_a_whole_setting_is_read() -> None:
    found, problems = read(
        {
            "URL": "rediss://me:x@host:7000/2",
            "TLS": {"CA": Path(__file__), "CERT": __file__, "KEY": __file__},
            "USERS": {"acme": {"weight": 3, "max_concurrency": 8, "rate": "100/m", "max_backlog": 50_000}},
            "WORKERS": {
                "worker-001": {"assigned_users": ["acme", "globex"], "steal_targets": ["*"], "processes": 2},
                "worker-002": {"assigned_users": "*", "steal_targets": ["worker-001", "initech"]},
            },
            "LEASE": 30,
            "MAX_DELIVERIES": 5,
        }
    )
    assert not problems
    assert found.tls.ca == __file__
    assert found.workers["worker-001"].steal_targets == "*"
    assert found.workers["worker-001"].assigned_users == ("acme", "globex")
    assert found.workers["worker-002"].steal_targets == ("worker-001", "initech")
    users = Users(found)
    assert users.group_of("globex") == "worker-001" and users.group_of("initech") == "*"
    assert users.policy_of("acme") == Policy(3.0, 8, 600.0, 1, 50_000)
    assert users.policy_of("else") == Policy()


def test_the_star_is_everybody_who_is_not_named() -> None:
    found, _ = read({"USERS": {"*": {"weight": 2}, "acme": {"max_backlog": 5}}})
    assert Users(found).policy_of("else") == Policy(weight=2)
    assert Users(found).policy_of("acme") == Policy(max_backlog=5)


@pytest.mark.parametrize("users", [asked, "tests.django.test_settings.asked"])
def test_a_function_says_how_users_are_served(users: Any) -> None:
    found, problems = read({"USERS": users})
    assert not problems
    assert Users(found).policy_of("acme") == Policy(weight=4)
    assert Users(found).policy_of("nobody") == Policy()
    with pytest.raises(ImproperlyConfigured, match="'bad'"):
        Users(found).policy_of("bad")


def test_a_function_that_fails_is_named_with_the_user() -> None:
    def fails(user_id: str) -> None:
        raise KeyError("plan")

    users = Users(conf.Settings(users=fails))
    with pytest.raises(ImproperlyConfigured, match=r"FAIRQUE\['USERS'\] failed for user 'acme'") as caught:
        users.policy_of("acme")
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_function_s_answer_is_kept_for_a_while() -> None:
    clock, calls = [0.0], []

    def policy(user_id: str) -> dict[str, int]:
        calls.append(user_id)
        return {"weight": len(calls)}

    users = Users(conf.Settings(users=policy), now=lambda: clock[0])
    assert [users.policy_of("a").weight, users.policy_of("a").weight] == [1, 1]
    clock[0] = 5.1
    assert users.policy_of("a").weight == 2


@pytest.mark.parametrize(
    ("rate", "interval_ms"),
    [
        ("100/m", 600),
        ("5/s", 200),
        ("1000/h", 3_600),
        ("10/d", 8_640_000),
        ("100/30s", 300),
        (" 0.5 / s ", 2_000),
    ],
)
def test_rates_are_starts_in_a_time(rate: str, interval_ms: float) -> None:
    assert rate_interval_ms(rate) == pytest.approx(interval_ms)


@pytest.mark.parametrize(
    "rate", ["", "5", "5/", "/m", "-5/m", "5/0s", "5/year", "1e9/s", "1/99999999d", "5/m;"]
)
def test_other_rates_are_refused(rate: str) -> None:
    with pytest.raises(Invalid):
        rate_interval_ms(rate)


def test_changed_settings_are_read_again() -> None:
    before = site.current()
    with override_settings(FAIRQUE={"PREFIX": "other", "URL": "redis://127.0.0.1:1"}):
        assert conf.settings.prefix == "other"
        assert site.current().space.prefix == "other"
    assert site.current().space == before.space
    assert conf.settings.prefix == before.space.prefix
