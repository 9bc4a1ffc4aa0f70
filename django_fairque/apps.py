"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register
from django.utils.module_loading import autodiscover_modules


class FairqueConfig(AppConfig):
    """Registers the checks and imports every app's ``tasks`` module. Opens no connection."""

    name = "django_fairque"
    verbose_name = "Fairque"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .checks import check_backend, check_deployment, check_settings

        register(check_settings, "fairque")
        register(check_backend, "fairque")
        register(check_deployment, "fairque", deploy=True)
        # So that a worker knows every task, and the admin of a web process every name.
        autodiscover_modules("tasks")
