"""What one process needs to talk to the queue: settings, users, key space and executors, each made once.

Nothing is opened before the first command. A change of settings (in tests) makes everything anew.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from . import conf
from .engine.keys import Keys, Space
from .engine.options import Options
from .engine.wire import connect
from .engine.wire.async_executor import AsyncExecutor
from .engine.wire.executor import Executor
from .users import Users


class Site:
    """One site's queue, as its settings describe it."""

    def __init__(self, settings: conf.Settings) -> None:
        self.settings = settings
        self.space = Space(settings.prefix, settings.partitions)
        self.keys: tuple[Keys, ...] = self.space.all()
        self.users = Users(settings)
        self.options = options_of(settings)

    @cached_property
    def executor(self) -> Executor:
        """This process's executor for producers: for any number of threads, and it survives a fork."""
        return Executor(self.settings.url, **self.connection("producer"))

    @cached_property
    def async_executor(self) -> AsyncExecutor:
        """The same for any number of event loops."""
        return AsyncExecutor(self.settings.url, **self.connection("producer"))

    def connection(self, role: connect.Role) -> dict[str, Any]:
        """Arguments for an executor of this site besides the URL."""
        settings = self.settings
        seconds = settings.timeout if role == "producer" else None
        return {
            "role": role,
            "folder": Path(getattr(django_settings, "BASE_DIR", None) or Path.cwd()),
            "options": connect.Options(
                tls_ca=settings.tls.ca,
                tls_cert=settings.tls.cert,
                tls_key=settings.tls.key,
                timeout=seconds,
                connect_timeout=seconds,
            ),
        }

    def close(self) -> None:
        """Close the blocking connections. The next command opens new ones."""
        if "executor" in self.__dict__:
            self.executor.close()


def options_of(settings: conf.Settings) -> Options:
    """How the site's queue behaves, as the steps want to know it."""
    return Options(
        lease_ms=_ms(settings.lease),
        max_deliveries=settings.max_deliveries,
        fairness=settings.fairness,
        debt_limit=settings.debt_limit,
        priority_age_ms=_ms(settings.priority_age),
        result_ttl_ms=_ms(settings.result_ttl),
        failed_ttl_ms=_ms(settings.failed_ttl),
        finished_limit=settings.finished_limit,
        dead_letter_limit=settings.dead_letter_limit,
    )


_site: Site | None = None


def current() -> Site:
    """The site of the settings in use. Raises ``ImproperlyConfigured`` when they are wrong."""
    global _site  # noqa: PLW0603 - one per process, like Django's own connections
    found = _site
    if found is None:
        found = _site = Site(conf.current())
    return found


def _changed(*, setting: str, **_: Any) -> None:
    global _site
    if setting in ("FAIRQUE", "BASE_DIR") and _site is not None:
        old, _site = _site, None
        old.close()


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)


# After conf's own receiver, which the import of conf has connected.
setting_changed.connect(_changed, dispatch_uid="django_fairque.site")
