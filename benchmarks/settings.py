"""The settings of the benchmarks: what a site needs to run tasks, and everything else by default."""

import os
from pathlib import Path

import django

SECRET_KEY = "benchmarks"  # noqa: S105 - guards nothing
USE_TZ = True
BASE_DIR = Path(os.environ.get("BENCH_OUT", Path.cwd()))
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_fairque", "benchmarks"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
if django.VERSION < (6, 0):
    INSTALLED_APPS.append("django_tasks")
TASKS = {"default": {"BACKEND": "django_fairque.backend.FairqueBackend"}}
FAIRQUE = {"URL": os.environ.get("BENCH_URL", "redis://127.0.0.1:7379/0")}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": "WARNING", "handlers": ["console"]},
    # Django logs two lines a task here at INFO; a site that runs thousands a second turns them off.
    "loggers": {"django.tasks": {"level": "WARNING"}},
    "handlers": {"console": {"class": "logging.StreamHandler"}},
}
