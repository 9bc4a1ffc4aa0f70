"""The site that the tests use. Worker processes started by a test read it too, hence the environment."""

from __future__ import annotations

import os
from pathlib import Path

import django

_FOLDER = Path(os.environ.get("FAIRQUE_TEST_FOLDER", "."))


def _sqlite(name: str) -> dict[str, object]:
    # The test database is the database itself, so that other processes see the same rows.
    path = str(_FOLDER / f"{name}.sqlite3")
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "TEST": {"NAME": path},
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    }


SECRET_KEY = "the tests keep no secrets"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.urls"
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_fairque",
    "tests.app",
]
if django.VERSION < (6, 0):
    INSTALLED_APPS.append("django_tasks")
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {"default": _sqlite("default"), "other": _sqlite("other")}

TASKS = {"default": {"BACKEND": "django_fairque.backend.FairqueBackend"}}
FAIRQUE = {
    "URL": os.environ.get("FAIRQUE_TEST_URL", "embedded://"),
    "PREFIX": os.environ.get("FAIRQUE_TEST_PREFIX", "fqt"),
}
