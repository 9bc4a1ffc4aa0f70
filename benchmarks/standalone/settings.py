"""The settings of the side-by-side comparison, with tasks that need nothing of it."""

from benchmarks.settings import (
    BASE_DIR,
    DATABASES,
    FAIRQUE,
    LOGGING,
    SECRET_KEY,
    TASKS,
    USE_TZ,
)
from benchmarks.settings import INSTALLED_APPS as APPS

__all__ = ["BASE_DIR", "DATABASES", "FAIRQUE", "INSTALLED_APPS", "LOGGING", "SECRET_KEY", "TASKS", "USE_TZ"]

INSTALLED_APPS = ["benchmarks.standalone" if app == "benchmarks" else app for app in APPS]
