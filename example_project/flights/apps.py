"""The app: delays of the flights that left New York in January 2013."""

from django.apps import AppConfig


class FlightsConfig(AppConfig):
    """Nothing to set up: the tasks are found by django-fairque's autodiscovery."""

    name = "flights"
    default_auto_field = "django.db.models.BigAutoField"
