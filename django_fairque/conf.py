"""The ``FAIRQUE`` setting as typed data: every key, its default and its limits.

``settings`` gives the values in use; they are read at first use and again when the setting changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from msgspec import Meta

SECONDS = "a number of seconds"
"""What the hint for a wrong value asks for, where the type alone does not tell."""

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0, le=10 * 365 * 86_400, description=SECONDS)]
Everybody = Literal["*"]

DAY = 86_400


class UserSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How one user is served. What is ``None`` is not limited."""

    weight: Annotated[float, Meta(ge=0.001, le=1_000_000)] = 1.0
    max_concurrency: Positive | None = None
    rate: str | None = None
    """Starts in a time: ``"100/m"``, ``"5/s"``, ``"1000/h"``, ``"10/d"``, ``"100/30s"``."""
    rate_burst: Positive = 1
    max_backlog: Positive | None = None


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker started as ``fairque_worker NAME`` serves, and with how many hands."""

    assigned_users: tuple[str, ...] | Everybody = "*"
    steal_targets: tuple[str, ...] | Everybody = ()
    """Users, names of workers, or ``"*"`` for everybody."""
    queues: Annotated[tuple[str, ...], Meta(min_length=1)] = ("default",)
    processes: Positive | None = None
    concurrency: Positive | None = None


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Files for ``rediss://`` and its kin. Certificates are verified with or without them."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All keys of ``FAIRQUE``, in upper case there. Times are seconds, sizes bytes."""

    url: str = "embedded://"
    prefix: Annotated[
        str,
        Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}$", description="1 to 64 letters, digits, or any of _.:-"),
    ] = "fq"
    partitions: Annotated[int, Meta(ge=1, le=1_024)] = 1
    users: Mapping[str, UserSettings] | Callable[[str], Any] = {}
    workers: Mapping[str, WorkerSettings] = {}

    default_user: Annotated[str, Meta(min_length=1)] = "default"
    """Whose turn it is when nothing else says."""
    enqueue_on_commit: bool = True
    """Whether ``enqueue`` inside ``atomic()`` waits for the commit."""
    max_payload: Positive = 1_048_576
    max_result: Positive = 1_048_576
    timeout: Annotated[float, Meta(gt=0, le=600, description=SECONDS)] | None = None
    """Seconds a producer waits for an answer; ``None`` for the built-in 1 s."""

    fairness: Literal["turns", "time"] = "turns"
    priority_age: Seconds = 60.0
    """How many seconds of waiting one step of priority is worth."""
    debt_limit: Annotated[float, Meta(ge=1, le=1_000_000)] = 64.0
    """How far a user may be ahead and have it held against it: in turns, or in seconds of run time."""

    lease: Annotated[float, Meta(ge=1, le=86_400, description=SECONDS)] = 30.0
    max_deliveries: Annotated[int, Meta(ge=1, le=1_000)] = 5
    grace: Annotated[float, Meta(ge=0, le=86_400, description=SECONDS)] = 30.0
    """How long a stopping worker lets its tasks go on."""
    concurrency: Annotated[int, Meta(ge=1, le=10_000)] = 40
    processes: Annotated[int, Meta(ge=1, le=1_024)] = 1

    result_ttl: Seconds = 3_600.0
    failed_ttl: Seconds = 30.0 * DAY
    """How long failed and canceled tasks are kept."""
    finished_limit: Positive = 100_000
    dead_letter_limit: Positive = 100_000

    tls: TlsSettings = TlsSettings()


class _InUse:
    """The settings in use, read when an attribute is first wanted."""

    _current: Settings | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(current(), name)


settings = _InUse()


def current() -> Settings:
    """The valid settings. Raises ``ImproperlyConfigured`` with what ``manage.py check`` would say."""
    found = settings._current
    if found is None:
        from .validate import read

        found, problems = read(raw())
        if problems:
            raise ImproperlyConfigured("\n".join(f"{p.text} ({p.id}) {p.hint}".rstrip() for p in problems))
        settings._current = found
    return found


def raw() -> Any:
    """``FAIRQUE`` as it stands in the project's settings."""
    return getattr(django_settings, "FAIRQUE", {})


def _changed(*, setting: str, **_: Any) -> None:
    if setting in ("FAIRQUE", "BASE_DIR"):
        settings._current = None


setting_changed.connect(_changed, dispatch_uid="django_fairque.conf")
