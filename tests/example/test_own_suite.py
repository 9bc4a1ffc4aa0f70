"""The example's own tests, which run with its own settings and database."""

from __future__ import annotations

from tests.example.site import manage


def test_the_examples_own_tests_pass(folder):
    done = manage(folder, "test", "flights", "--verbosity=2")

    assert done.returncode == 0, done.stderr
    assert " ... ok" in done.stderr


def test_its_migrations_are_complete_and_its_settings_in_order(folder):
    assert manage(folder, "makemigrations", "--check", "--dry-run").returncode == 0
    checked = manage(folder, "check", "--fail-level=WARNING")
    assert checked.returncode == 0, checked.stderr
