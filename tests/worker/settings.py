"""The tests' site with the tasks that tell a ledger what they do."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import FAIRQUE as _FAIRQUE
from tests.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [app for app in _APPS if app != "tests.app"] + ["tests.worker.app"]
INSTALLED_APPS += os.environ.get("LEDGER_APPS", "").split()
DEBUG = os.environ.get("LEDGER_DEBUG") == "1"
FAIRQUE = _FAIRQUE | json.loads(os.environ.get("LEDGER_FAIRQUE", "{}"))
