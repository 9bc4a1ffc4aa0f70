"""System checks: their ids, where they are documented, and that they open no connection."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import CommandError, SystemCheckError
from django.test import modify_settings, override_settings

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


def test_a_backend_of_an_app_that_is_not_installed_is_an_error() -> None:
    from django_fairque.backend import FairqueBackend

    with modify_settings(INSTALLED_APPS={"remove": ["django_fairque"]}):
        (error,) = FairqueBackend("default", {}).check()
    assert error.id == "fairque.E011" and "INSTALLED_APPS" in str(error.hint)


@pytest.mark.parametrize(
    ("options", "queue", "hint"),
    [
        ({}, "default", None),
        ({}, "nope", "Add it to the QUEUES of a backend."),
        ({"QUEUES": ["default", "mail"]}, "mial", "Did you mean 'mail'?"),
        ({"QUEUES": []}, "nope", None),
    ],
)
def test_a_queue_that_nothing_is_enqueued_to_is_warned_of(
    options: dict[str, Any], queue: str, hint: str | None
) -> None:
    backend = {"BACKEND": "django_fairque.backend.FairqueBackend", **options}
    workers = {"WORKERS": {"w": {"queues": [queue]}}}
    with override_settings(TASKS={"default": backend}, FAIRQUE=workers):
        found = [(warning.id, warning.hint) for warning in run_checks(tags=["fairque"])]
        assert found == ([("fairque.W002", hint)] if hint else [])
        if hint:
            with pytest.raises(CommandError, match=f"No backend in TASKS has a queue '{queue}'"):
                call_command("fairque_worker", "--queues", f"default,{queue}")


@pytest.mark.parametrize(
    ("target", "warned"),
    [("worker-002", False), ("worker-02", True), ("worker-03", False), ("worker-04", False), ("zed", False)],
)
def test_a_target_that_is_nearly_a_worker_is_warned_of(target: str, warned: bool) -> None:
    workers = {
        "worker-001": {"assigned_users": ["worker-03"], "steal_targets": [target]},
        "worker-002": {"assigned_users": ["acme"], "steal_targets": "*"},
    }
    with override_settings(FAIRQUE={"WORKERS": workers, "USERS": {"worker-04": {}}}):
        found = run_checks(tags=["fairque"])
    assert [warning.id for warning in found] == ["fairque.W004"] * warned
    assert not warned or found[0].hint == "Did you mean 'worker-002'?"


@pytest.mark.parametrize(
    ("url", "ids"),
    [({}, ["fairque.W003"]), ({"URL": "embedded:///x"}, ["fairque.W003"]), ({"URL": "redis://h"}, [])],
)
def test_a_deployment_needs_a_server(url: dict[str, str], ids: list[str]) -> None:
    with override_settings(FAIRQUE=url):
        assert run_checks(tags=["fairque"]) == []
        found = run_checks(tags=["fairque"], include_deployment_checks=True)
    assert [warning.id for warning in found] == ids


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["w1", "--users", "zed"], "NAME and --users exclude each other"),
        (["--concurrency", "x"], "must be a whole number"),
        (["--grace", "soon"], "must be a number of seconds"),
    ],
    ids=str,
)
def test_a_command_line_is_told_what_is_wrong_with_it(options: list[str], told: str) -> None:
    with override_settings(FAIRQUE={"WORKERS": {"w1": {}}}), pytest.raises(CommandError, match=told):
        call_command("fairque_worker", *options)


def test_the_package_lists_its_names() -> None:
    assert set(django_fairque.__all__) <= set(dir(django_fairque))


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
