"""Whether and when an attempt is repeated: a value, asked with ``==``."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_fairque.engine.errors import Invalid
from django_fairque.engine.retry import ONCE, Retry


class Refused(ConnectionError):
    """An error of the tests."""


def never() -> float:
    return 0.0


def test_without_a_rule_there_is_one_attempt():
    assert ONCE.after(1, ValueError()) is None


def test_a_fixed_rule_waits_the_same_time_and_gives_up():
    rule = Retry.fixed(2.5, max_attempts=3)
    assert [rule.after(attempt, ValueError()) for attempt in (1, 2, 3, 4)] == [2_500, 2_500, None, None]


def test_an_exponential_rule_doubles_up_to_its_cap():
    rule = Retry.exponential(max_attempts=6, base=1, cap=5, jitter=0)
    assert [rule.after(attempt, ValueError()) for attempt in range(1, 7)] == [
        1_000,
        2_000,
        4_000,
        5_000,
        5_000,
        None,
    ]


def test_chance_takes_off_at_most_its_share():
    rule = Retry.exponential(base=10, jitter=0.5)
    assert rule.after(1, ValueError(), chance=lambda: 0.0) == 10_000
    assert rule.after(1, ValueError(), chance=lambda: 1.0) == 5_000


def test_only_the_named_errors_and_their_subclasses_are_tried_again():
    rule = Retry.fixed(1, retry_on=[ConnectionError])
    assert rule.after(1, Refused(), chance=never) == 1_000
    assert rule.after(1, ValueError()) is None


def test_giving_up_wins():
    rule = Retry.fixed(1, retry_on=[Exception], give_up_on=["tests.engine.test_retry.Refused"])
    assert rule.after(1, ConnectionError(), chance=never) == 1_000
    assert rule.after(1, Refused()) is None


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), GeneratorExit()])
def test_what_ends_programs_is_not_tried_again_unless_named(error):
    assert Retry.fixed(1).after(1, error) is None
    assert Retry.fixed(1, retry_on=[BaseException]).after(1, error) == 1_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": 1.5},
        {"max_attempts": 10**9},
        {"base": -1},
        {"base": float("nan")},
        {"factor": 0.5},
        {"cap": "long"},
        {"jitter": 1.1},
        {"retry_on": [ValueError()]},
        {"give_up_on": [int]},
    ],
)
def test_numbers_and_classes_that_make_no_sense_are_refused(wrong):
    with pytest.raises(Invalid):
        Retry.exponential(**wrong)


@given(
    st.builds(Retry.exponential, max_attempts=st.integers(1, 1_000), jitter=st.floats(0, 1)),
    st.integers(1, 2_000),
)
def test_a_delay_is_never_negative_nor_longer_than_the_cap(rule, attempt):
    delay = rule.after(attempt, ValueError())
    assert (delay is None) == (attempt >= rule.max_attempts)
    assert delay is None or 0 <= delay <= rule.cap * 1_000


def test_a_rule_survives_the_way_through_json():
    rule = Retry.exponential(max_attempts=7, retry_on=[Refused], give_up_on=["some.Error"])
    assert Retry.unpacked(json.loads(json.dumps({**rule.packed(), "of a later version": 1}))) == rule
