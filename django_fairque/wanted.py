"""A type of ``conf`` in words: what the hint for a wrong value asks for."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from msgspec import Meta

_WORDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a string",
    tuple: "a list of strings",
    NoneType: "None",
}


def wanted(kind: Any) -> str:
    """The values that ``kind`` allows.

    >>> wanted(Annotated[int, Meta(ge=1, le=10)])
    'a whole number between 1 and 10'
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _limited(parts[0], parts[1:])
    if origin in (Union, UnionType):
        return ", or ".join(wanted(part) for part in parts)
    if origin is Literal:
        values = ", ".join(repr(value) for value in parts)
        return values if len(parts) == 1 else f"one of {values}"
    return _WORDS.get(origin or kind, "another value")


def accepts_list(kind: Any) -> bool:
    """Whether a list is among the values that ``kind`` allows."""
    return get_origin(kind) is tuple or any(accepts_list(part) for part in get_args(kind))


def _limited(kind: Any, limits: tuple[Any, ...]) -> str:
    words, low, high = wanted(kind), "", ""
    for meta in limits:
        if not isinstance(meta, Meta):
            continue
        words = meta.description or words
        if meta.min_length:
            words += " that is not empty"
        low = f"above {meta.gt:,}" if meta.gt is not None else low
        low = f"of at least {meta.ge:,}" if meta.ge is not None else low
        high = f"at most {meta.le:,}" if meta.le is not None else high
        if meta.ge is not None and meta.le is not None:
            low, high = f"between {meta.ge:,} and {meta.le:,}", ""
    return f"{words} {' and '.join(part for part in (low, high) if part)}".rstrip()
