"""System checks: what is wrong in the settings, before any worker starts. They open no connection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning

from . import conf
from .validate import read


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Every wrong value in ``FAIRQUE`` as an error with its id and a hint."""
    _, problems = read(conf.raw())
    return [Error(problem.text, hint=problem.hint or None, id=problem.id) for problem in problems]


def check_backend(**kwargs: Any) -> Iterable[CheckMessage]:
    """A warning when no backend in ``TASKS`` is ours: then nothing is enqueued here."""
    from django.utils.module_loading import import_string

    from .backend import FairqueBackend

    tasks: Any = getattr(django_settings, "TASKS", {})
    for params in tasks.values():
        try:
            found = import_string(params["BACKEND"])
        except (ImportError, KeyError, TypeError):
            continue  # Django's own checks report it
        if isinstance(found, type) and issubclass(found, FairqueBackend):
            return
    yield Warning(
        "django_fairque is installed, but no backend in TASKS uses it.",
        hint="TASKS = {'default': {'BACKEND': 'django_fairque.backend.FairqueBackend'}}",
        id="fairque.W001",
    )
