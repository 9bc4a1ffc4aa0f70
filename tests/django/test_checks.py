"""System checks: their ids, where they are documented, and that they open no connection."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings

import django_fairque
from django_fairque.conf import Settings, UserSettings, WorkerSettings

PACKAGE = Path(django_fairque.__file__).parent
SETTINGS_PAGE = PACKAGE.parent / "docs" / "reference" / "settings.md"
PAGE = PACKAGE.parent / "docs" / "reference" / "checks.md"


def test_a_site_that_is_set_up_well_has_nothing_to_report() -> None:
    assert run_checks(tags=["fairque"]) == []


def test_manage_py_check_fails_with_the_id_and_the_hint() -> None:
    with override_settings(FAIRQUE={"URLL": "redis://h"}), pytest.raises(SystemCheckError) as caught:
        call_command("check")
    assert "fairque.E001" in str(caught.value) and "Did you mean 'URL'?" in str(caught.value)


def test_no_connection_is_opened() -> None:
    with override_settings(FAIRQUE={"URL": "redis://127.0.0.1:1/0"}):
        call_command("check")


def test_a_site_whose_tasks_go_elsewhere_is_warned() -> None:
    backend = "django.tasks.backends.dummy.DummyBackend"
    try:
        import django.tasks  # noqa: F401
    except ImportError:
        backend = "django_tasks.backends.dummy.DummyBackend"
    with override_settings(TASKS={"default": {"BACKEND": backend}}):
        (warning,) = run_checks(tags=["fairque"])
    assert warning.id == "fairque.W001"


def test_queues_of_the_backend_must_be_names() -> None:
    from django_fairque.backend import FairqueBackend

    (error,) = FairqueBackend("default", {"QUEUES": ["x" * 200]}).check()
    assert error.id == "fairque.E010"


def test_every_id_is_documented_and_every_documented_id_exists() -> None:
    used = {
        found
        for path in PACKAGE.rglob("*.py")
        for found in re.findall(r"fairque\.[EWI]\d{3}", path.read_text())
    }
    assert used == set(re.findall(r"fairque\.[EWI]\d{3}", PAGE.read_text()))


def test_every_setting_is_documented() -> None:
    page = SETTINGS_PAGE.read_text()
    keys = [name.upper() for name in Settings.__struct_fields__]
    for key in (*keys, *UserSettings.__struct_fields__, *WorkerSettings.__struct_fields__):
        assert f"`{key}`" in page, key
