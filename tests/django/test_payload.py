"""Packing: two encoders, one meaning."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_fairque.compat import normalize_json
from django_fairque.payload import loads, pack_call, pack_result, unpack_call

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())
KEYS = st.text(st.characters()) | st.integers() | st.none() | st.booleans()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner),
    max_leaves=20,
)


def by_the_standard_library(value: Any) -> Any:
    return json.loads(json.dumps(normalize_json(value), allow_nan=False))


def has_nan(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(has_nan, value.values()))
    return isinstance(value, list | tuple) and any(map(has_nan, value))


@given(VALUES)
def test_a_value_means_what_the_standard_library_would_write(value: Any) -> None:
    if has_nan(value):
        with pytest.raises(ValueError, match="not JSON"):
            pack_result("name", value, 10**9)
        return
    packed, seen = pack_result("name", value, 10**9)
    expected = by_the_standard_library(value)
    assert loads(packed) == json.loads(packed) == seen == expected
    assert json.dumps(seen) == json.dumps(expected)  # 1 and 1.0 and true are equal, but not the same


@given(st.lists(VALUES, max_size=4), st.dictionaries(st.text(st.characters()), VALUES, max_size=4))
def test_a_call_arrives_as_its_producer_saw_it(args: list[Any], kwargs: dict[str, Any]) -> None:
    if has_nan(args) or has_nan(kwargs):
        with pytest.raises(ValueError, match="not JSON"):
            pack_call("name", args, kwargs, None, 10**9)
        return
    for options in (None, {"retry": {"max_attempts": 2}}):
        payload, seen_args, seen_kwargs = pack_call("name", args, kwargs, options, 10**9)
        assert unpack_call(payload) == (seen_args, seen_kwargs, options or {})
        assert seen_args == by_the_standard_library(args)
        assert seen_kwargs == by_the_standard_library(kwargs)


def test_a_payload_is_compact() -> None:
    assert pack_call("name", (1, "ü"), {"a": None}, None, 100)[0] == '[[1,"ü"],{"a":null}]'.encode()
