"""From what a project wrote to typed settings: everything that is wrong with it, and the way out."""

from __future__ import annotations

import difflib
import json
import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec
from django.utils.module_loading import import_string

from .conf import Settings, TlsSettings, UserSettings, WorkerSettings
from .engine.errors import Invalid
from .engine.keys import EVERYBODY, encode, encode_group, encode_queue
from .engine.task import Policy
from .engine.wire.connect import parse
from .wanted import accepts_list, wanted

S = TypeVar("S", bound=msgspec.Struct)

_RATE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)?\s*(s|m|h|d)\s*")
_RATE_HINT = "Write '100/m', '5/s', '1000/h', '10/d' or '100/30s'."
_SERVER = re.compile(r"(localhost|[A-Za-z0-9.-]+:\d{1,5})(/\d{1,3})?")
# Names that are meant often, and that do not look like the right one.
_MEANT = {
    "users": "assigned_users",
    "user": "assigned_users",
    "user_ids": "assigned_users",
    "queue": "queues",
    "steal": "steal_targets",
    "concurrency": "max_concurrency",
    "backlog": "max_backlog",
}
_PERIOD_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in the settings: the id of its check, what it is, and what to do."""

    id: str
    text: str
    hint: str = ""


def read(raw: Any) -> tuple[Settings, list[Problem]]:
    """The settings as far as they can be used, and every problem in them. Opens no connection."""
    problems: list[Problem] = []
    if not isinstance(raw, Mapping):
        return Settings(), [Problem("fairque.E001", f"FAIRQUE is {_short(raw)}.", "Make it a dictionary.")]
    nested = {"USERS", "WORKERS", "TLS"}
    plain = {key: value for key, value in raw.items() if key not in nested}
    known = {name.upper(): name for name in Settings.__struct_fields__}
    values = _fields(
        Settings, plain, known, "FAIRQUE", Ids(unknown="fairque.E001", value="fairque.E002"), problems
    )
    if "url" in values:
        try:
            address = parse(values["url"])
        except Invalid as error:
            problems.append(
                Problem(
                    "fairque.E003",
                    f"FAIRQUE['URL'] {str(error).removeprefix('URL: ')}",
                    _url_hint(values["url"]),
                )
            )
            del values["url"]
        else:
            if raw.get("TLS") and not address.tls:
                problems.append(
                    Problem(
                        "fairque.E009",
                        "FAIRQUE['TLS'] is set, but the URL is not one with TLS.",
                        "Use rediss://, rediss+sentinel:// or rediss+cluster://, or remove TLS.",
                    )
                )
    if "default_user" in values:
        _user_id(values["default_user"], "FAIRQUE['DEFAULT_USER']", "fairque.E002", problems)
    values["users"] = _users(raw.get("USERS", {}), problems)
    values["workers"] = _workers(raw.get("WORKERS", {}), problems)
    values["tls"] = _tls(raw.get("TLS") or {}, problems)
    return Settings(**values), problems


@dataclass(frozen=True, slots=True)
class Ids:
    """Under which ids the problems of one dictionary are reported."""

    unknown: str
    value: str


def policy_from(raw: Any, where: str) -> tuple[Policy, list[Problem]]:
    """One user's policy from a dictionary such as ``{"weight": 3, "rate": "100/m"}``."""
    problems: list[Problem] = []
    user = _user(raw, where, problems)
    if problems:
        return Policy(), problems
    return policy_of_settings(user), problems


def policy_of_settings(user: UserSettings) -> Policy:
    """The engine's policy for valid settings of a user."""
    return Policy(
        weight=user.weight,
        max_concurrency=user.max_concurrency or 0,
        rate_interval_ms=rate_interval_ms(user.rate) if user.rate else 0.0,
        rate_burst=user.rate_burst,
        max_backlog=user.max_backlog or 0,
    )


def rate_interval_ms(rate: str) -> float:
    """Milliseconds between two starts at a rate such as ``"100/m"``. Raises ``Invalid``."""
    found = _RATE.fullmatch(rate)
    if not found or float(found[1]) <= 0 or (found[2] and float(found[2]) <= 0):
        raise Invalid("rate", f"cannot read {_short(rate)}.")
    interval = float(found[2] or 1) * _PERIOD_MS[found[3]] / float(found[1])
    if not 0.001 <= interval <= 366 * 86_400_000:
        raise Invalid("rate", f"{_short(rate)} is out of range.")
    return interval


def _fields(
    kind: type[msgspec.Struct],
    raw: Mapping[Any, Any],
    known: Mapping[str, str],
    where: str,
    ids: Ids,
    problems: list[Problem],
) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in known:
            like = _meant(key, known)
            hint = f"Did you mean {like!r}?" if like else f"Known are: {', '.join(sorted(known))}."
            problems.append(Problem(ids.unknown, f"{where} has an unknown key {_short(key)}.", hint))
            continue
        try:
            values[known[key]] = msgspec.convert(value, hints[known[key]])
        except msgspec.ValidationError:
            hint = _value_hint(hints[known[key]], value)
            problems.append(Problem(ids.value, f"{where}[{key!r}] is {_short(value)}.", hint))
    return values


def _meant(key: Any, known: Mapping[str, str]) -> str | None:
    if key in _MEANT and _MEANT[key] in known:
        return _MEANT[key]
    close = difflib.get_close_matches(str(key).upper(), [k.upper() for k in known], n=1, cutoff=0.5)
    return next((k for k in known if close and k.upper() == close[0]), None)


def _value_hint(kind: Any, value: Any) -> str:
    if isinstance(value, str) and value and accepts_list(kind):
        other = ', or "*"' if "'*'" in wanted(kind) else ""
        return f"Write a list: [{json.dumps(value[:40], ensure_ascii=False)}]{other}."
    return f"Write {wanted(kind)}."


def _url_hint(url: str) -> str:
    # Nothing else is repeated: it may hold a password.
    if _SERVER.fullmatch(url):
        return f"Write 'redis://{url if '/' in url else url + '/0'}'."
    return "See the reference of settings for URLs."


def _users(raw: Any, problems: list[Problem]) -> Any:
    if isinstance(raw, str):
        try:
            raw = import_string(raw)
        except Exception as error:  # the project's own module may fail in any way
            problems.append(
                Problem(
                    "fairque.E006",
                    f"FAIRQUE['USERS'] names {_short(raw)}, which cannot be imported.",
                    f"{type(error).__name__}: {error}",
                )
            )
            return {}
    if callable(raw):
        return raw
    if not isinstance(raw, Mapping):
        problems.append(
            Problem(
                "fairque.E006",
                f"FAIRQUE['USERS'] is {_short(raw)}.",
                "Make it a dictionary of users, or a function that takes a user id and returns a policy.",
            )
        )
        return {}
    users = {}
    for user_id, policy in raw.items():
        where = f"FAIRQUE['USERS'][{_short(user_id)}]"
        if _user_id(user_id, where, "fairque.E004", problems):
            users[user_id] = _user(policy, where, problems)
    return users


def _user(raw: Any, where: str, problems: list[Problem]) -> UserSettings:
    ids = Ids(unknown="fairque.E004", value="fairque.E004")
    rate = raw.get("rate") if isinstance(raw, Mapping) else None
    if rate is not None and not isinstance(rate, str):
        problems.append(Problem("fairque.E005", f"{where}['rate'] is {_short(rate)}.", _RATE_HINT))
        raw = {key: value for key, value in raw.items() if key != "rate"}
    values = _struct(UserSettings, raw, where, ids, problems)
    if values.get("rate"):
        try:
            rate_interval_ms(values["rate"])
        except Invalid as error:
            problems.append(Problem("fairque.E005", f"{where}: {error}", _RATE_HINT))
            del values["rate"]
    return UserSettings(**values)


def _workers(raw: Any, problems: list[Problem]) -> dict[str, WorkerSettings]:
    if not isinstance(raw, Mapping):
        problems.append(
            Problem(
                "fairque.E007", f"FAIRQUE['WORKERS'] is {_short(raw)}.", "Make it a dictionary of workers."
            )
        )
        return {}
    workers: dict[str, WorkerSettings] = {}
    owner: dict[str, str] = {}
    for name, worker in raw.items():
        where = f"FAIRQUE['WORKERS'][{_short(name)}]"
        try:
            encode_group(name)
            if name == EVERYBODY:
                raise Invalid("worker", "'*' means everybody and cannot be a name.")
        except Invalid as error:
            problems.append(Problem("fairque.E007", f"{where}: {error}", "Give the worker another name."))
            continue
        ids = Ids(unknown="fairque.E007", value="fairque.E007")
        values = _struct(WorkerSettings, worker, where, ids, problems)
        for field in ("assigned_users", "steal_targets"):
            # ["*"] is what one writes for "everybody" in a list.
            if EVERYBODY in values.get(field, ()):
                values[field] = EVERYBODY
        found = workers[name] = WorkerSettings(**values)
        for queue in found.queues:
            try:
                encode_queue(queue)
            except Invalid as error:
                problems.append(Problem("fairque.E007", f"{where}['queues']: {error}", "Rename the queue."))
        for user_id in _listed(found.assigned_users) + _listed(found.steal_targets):
            _user_id(user_id, where, "fairque.E007", problems)
        for user_id in _listed(found.assigned_users):
            if owner.setdefault(user_id, name) != name:
                problems.append(
                    Problem(
                        "fairque.E008",
                        f"User {_short(user_id)} is assigned to the workers {owner[user_id]!r} and {name!r}.",
                        "Assign it to one. Any number of processes may run that worker, and others may "
                        "name the user among their steal_targets.",
                    )
                )
    return workers


def _tls(raw: Any, problems: list[Problem]) -> TlsSettings:
    ids = Ids(unknown="fairque.E009", value="fairque.E009")
    known = {name.upper(): name for name in TlsSettings.__struct_fields__}
    if isinstance(raw, Mapping):
        raw = {key: str(value) if isinstance(value, Path) else value for key, value in raw.items()}
    values = _struct(TlsSettings, raw, "FAIRQUE['TLS']", ids, problems, known)
    for name, path in values.items():
        if path is not None and not Path(path).is_file():
            problems.append(
                Problem(
                    "fairque.E009",
                    f"FAIRQUE['TLS'][{name.upper()!r}] names a file that is not there: {path}.",
                    "Check the path and that this process may read it.",
                )
            )
    if values.get("key") and not values.get("cert"):
        problems.append(
            Problem(
                "fairque.E009",
                "FAIRQUE['TLS'] has a KEY without a CERT.",
                "Add the certificate it belongs to.",
            )
        )
    return TlsSettings(**values)


def _struct(
    kind: type[msgspec.Struct],
    raw: Any,
    where: str,
    ids: Ids,
    problems: list[Problem],
    known: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        problems.append(Problem(ids.value, f"{where} is {_short(raw)}.", "Make it a dictionary."))
        return {}
    return _fields(kind, raw, known or {name: name for name in kind.__struct_fields__}, where, ids, problems)


def _user_id(user_id: Any, where: str, problem_id: str, problems: list[Problem]) -> bool:
    try:
        encode(user_id)
    except Invalid as error:
        problems.append(Problem(problem_id, f"{where}: {error}", "Use a string of 1 to 512 bytes."))
        return False
    return True


def _listed(names: Iterable[str]) -> tuple[str, ...]:
    return () if names == EVERYBODY else tuple(names)


def _short(value: Any) -> str:
    return reprlib.repr(value)
