"""Arguments and results as JSON: checked and packed by the producer, unpacked by the worker.

What is packed means the same to any JSON reader: no NaN, no types JSON does not have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import msgspec

from .compat import normalize_json
from .engine.errors import Invalid

Call = tuple[bytes, list[Any], dict[str, Any]]
"""The payload of a call, and its arguments as the task's function will see them."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_SCALARS = frozenset({str, int, bool, type(None)})


def pack_call(
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: Mapping[str, Any] | None,
    limit: int,
) -> Call:
    """A call of the task ``name``. Raises ``TypeError`` or ``ValueError`` when it is not JSON or too long."""
    for value in args:
        if type(value) not in _SCALARS:
            flat = False
            break
    else:
        flat = not kwargs
    call = (args, kwargs, options) if options else (args, kwargs)
    try:
        if flat:
            payload, seen_args, seen_kwargs = _encode(call), list(args), {}
        elif _is_plain(call):
            payload = _encode(call)
            seen_args, seen_kwargs = _decode(payload)[:2]
        else:
            raise UnicodeError
    except (UnicodeError, RecursionError):
        # Anything unusual goes the standard library's way, which settles what the JSON of it is.
        payload = _slowly(name, args, kwargs, options)
        seen_args, seen_kwargs = json.loads(payload)[:2]
    if len(payload) > limit:
        raise Invalid(
            "arguments",
            f"a call of {name} takes {len(payload):,} bytes as JSON; the limit is {limit:,} (MAX_PAYLOAD).",
        )
    return payload, seen_args, seen_kwargs


def unpack_call(payload: bytes) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Arguments, keyword arguments and options of a packed call. Raises ``ValueError`` on anything else."""
    call = loads(payload)
    if (
        isinstance(call, list)
        and len(call) >= 2
        and isinstance(call[0], list)
        and isinstance(call[1], dict)
        and (len(call) == 2 or isinstance(call[2], dict))
    ):
        return call[0], call[1], call[2] if len(call) > 2 else {}
    raise ValueError("The payload is not a call: it should be [args, kwargs] as JSON.")


def pack_result(name: str, value: Any, limit: int) -> tuple[bytes, Any]:
    """What a task returned, packed, and as its readers will see it. Raises like ``pack_call``."""
    try:
        if type(value) in _SCALARS:
            packed, seen = _encode(value), value
        elif _is_plain(value):
            packed = _encode(value)
            seen = _decode(packed)
        else:
            raise UnicodeError
    except (UnicodeError, RecursionError):
        packed = _dump(value, f"The return value of {name}")
        seen = json.loads(packed)
    if len(packed) > limit:
        raise Invalid(
            "return value",
            f"of {name} takes {len(packed):,} bytes as JSON; the limit is {limit:,} (MAX_RESULT).",
        )
    return packed, seen


def loads(packed: bytes) -> Any:
    """The value of stored JSON. Raises ``ValueError`` when it is none."""
    try:
        return _decode(packed)
    except (ValueError, RecursionError):
        # The standard library also reads lone surrogates and very large numbers.
        try:
            return json.loads(packed)
        except RecursionError:
            raise ValueError("nested too deeply to be read") from None


def _is_plain(value: Any) -> bool:
    """Whether both encoders agree on ``value``: only JSON's own types, exactly, and no NaN."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind is list or kind is tuple:
        return all(type(item) in _SCALARS or _is_plain(item) for item in value)
    if kind is dict:
        return all(
            type(key) is str and (type(item) in _SCALARS or _is_plain(item)) for key, item in value.items()
        )
    return kind is float and isfinite(value)


def _slowly(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any] | None
) -> bytes:
    packed = [_dump(value, f"Argument {place} of {name}") for place, value in enumerate(args, start=1)]
    for key in kwargs:
        if not isinstance(key, str):
            raise TypeError(
                f"Keyword arguments of {name} need names that are strings, not {type(key).__name__}."
            )
    named = [
        _dump(str(key), "key") + b":" + _dump(value, f"Argument {key!r} of {name}")
        for key, value in kwargs.items()
    ]
    payload = b"[[" + b",".join(packed) + b"],{" + b",".join(named) + b"}"
    return payload + (b"," + _dump(options, "options") if options else b"") + b"]"


def _dump(value: Any, what: str) -> bytes:
    try:
        text = json.dumps(normalize_json(value), separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        try:
            return text.encode()
        except UnicodeEncodeError:  # a lone surrogate, which JSON can only escape
            return json.dumps(normalize_json(value), separators=(",", ":"), allow_nan=False).encode()
    except TypeError as error:
        raise TypeError(f"{what} is not JSON: {error}") from error
    except ValueError as error:
        raise ValueError(f"{what} is not JSON: {error}") from error
    except RecursionError:
        raise ValueError(f"{what} is not JSON: it is nested too deeply or holds itself.") from None
