"""What is refused at enqueue, in the words the caller needs, and with nothing written."""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from tests.app import tasks

endless: list[Any] = []
endless.append(endless)
deep: Any = 0
for _ in range(100_000):
    deep = [deep]

BAD = [
    (object(), TypeError, "Unsupported type"),
    (datetime.datetime(2030, 1, 1), TypeError, "Unsupported type"),
    (uuid.UUID(int=1), TypeError, "Unsupported type"),
    (decimal.Decimal(1), TypeError, "Unsupported type"),
    ({1, 2}, TypeError, "Unsupported type"),
    ([{"deep": [object()]}], TypeError, "Unsupported type"),
    ({(1, 2): 3}, TypeError, "unhashable|Unsupported"),
    (b"\xff", ValueError, "Unsupported value"),
    (math.nan, ValueError, "not JSON"),
    ([math.inf], ValueError, "not JSON"),
    ({"a": -math.inf}, ValueError, "not JSON"),
    (endless, ValueError, "nested too deeply"),
    (deep, ValueError, "nested too deeply"),
    ("x" * 2_000_000, ValueError, r"2,000,0\d\d bytes as JSON; the limit is 1,048,576 \(MAX_PAYLOAD\)"),
]
IDS = [f"{type(value).__name__}-{number}" for number, (value, _, _) in enumerate(BAD)]


@pytest.mark.parametrize(("value", "error", "told"), BAD, ids=IDS)
@pytest.mark.parametrize("named", [False, True], ids=["positional", "named"])
async def test_an_argument_that_is_no_json_writes_nothing(
    value: Any, error: type[Exception], told: str, named: bool, size: Callable[[], int]
) -> None:
    args, kwargs = ([], {"value": value}) if named else ([1, value], {})
    with pytest.raises(error, match=told) as caught:
        tasks.echo.enqueue(*args, **kwargs)
    assert len(str(caught.value)) < 1_000
    with pytest.raises(error, match=told):
        await tasks.echo.aenqueue(*args, **kwargs)
    # The bad call is the last of many: none of the good ones is written either.
    many: list[Any] = [(number,) for number in range(1_100)]
    with pytest.raises(error, match=told):
        tasks.echo.enqueue_many([*many, kwargs if named else args])
    with pytest.raises(error, match=told):
        await tasks.echo.aenqueue_many([*many, kwargs if named else args])

    assert size() == 0


def test_the_argument_is_named() -> None:
    with pytest.raises(TypeError, match=r"Argument 2 of tests\.app\.tasks\.echo"):
        tasks.echo.enqueue(1, object())
    with pytest.raises(TypeError, match=r"Argument 'when' of tests\.app\.tasks\.echo"):
        tasks.echo.enqueue(when=object())


@pytest.mark.parametrize("call", ["text", 7, None, {1, 2}, object()])
def test_a_call_of_many_that_is_neither_tuple_nor_dictionary_is_refused(
    call: Any, size: Callable[[], int]
) -> None:
    with pytest.raises(TypeError, match="tuple of arguments or a dictionary"):
        tasks.echo.enqueue_many([(1,), call])
    assert size() == 0


def test_names_of_arguments_are_strings(size: Callable[[], int]) -> None:
    call: Any = {1: 2}
    with pytest.raises(TypeError, match="names that are strings"):
        tasks.echo.enqueue_many([call])
    assert size() == 0


def test_the_limit_is_a_setting_and_counts_bytes(size: Callable[[], int]) -> None:
    with override_settings(FAIRQUE={**settings.FAIRQUE, "MAX_PAYLOAD": 100}):
        tasks.echo.enqueue("ü" * 40)
        before = size()
        with pytest.raises(ValueError, match=r"takes 1\d\d bytes as JSON; the limit is 100"):
            tasks.echo.enqueue("ü" * 50)
    assert size() == before


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ((1, 2), [1, 2]),
        (b"text", "text"),
        ({1: "a", None: "b", 2.5: "c"}, {"1": "a", "null": "b", "2.5": "c"}),
        (range(3), [0, 1, 2]),
        (2**100, 2**100),
        (-(2**64), -(2**64)),
        (1.5e300, 1.5e300),
        (0.1 + 0.2, 0.1 + 0.2),
        ("\x00\u2028\U0001f600", "\x00\u2028\U0001f600"),
        ("lone \ud800 surrogate", "lone \ud800 surrogate"),
        ({"k\ud800": []}, {"k\ud800": []}),
        ({}, {}),
        ([], []),
        ("", ""),
        (None, None),
        (False, False),
    ],
)
def test_what_is_json_arrives_as_the_standard_library_would_write_it(
    given: Any, stored: Any, drain: Any
) -> None:
    result = tasks.echo.enqueue(given, named=given)
    drain()
    found = tasks.echo.get_result(result.id)

    assert found.args == result.args == [stored]
    assert found.return_value == [[stored], {"named": stored}]
    assert type(found.args[0]) is type(stored)


def test_what_the_caller_changes_afterwards_is_not_seen() -> None:
    mutable = {"list": [1]}
    result = tasks.echo.enqueue(mutable)
    mutable["list"].append(2)
    assert result.args == [{"list": [1]}]
