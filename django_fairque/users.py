"""Whose turn it is, and under which rules: from a user id to its policy and its group of workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from .conf import Settings
from .engine.keys import EVERYBODY, encode
from .engine.task import DEFAULT_POLICY, Policy
from .validate import policy_from, policy_of_settings

# A function of the project may ask a database; an answer this old is still fair, and its cost disappears.
KEEP_S = 5.0
KEEP_USERS = 10_000


class Users:
    """The users of one set of settings. Answers are kept, so that asking costs next to nothing."""

    def __init__(self, settings: Settings, *, now: Callable[[], float] = time.monotonic) -> None:
        self._group = {
            user_id: name
            for name, worker in settings.workers.items()
            if worker.assigned_users != EVERYBODY
            for user_id in worker.assigned_users
        }
        self._ask = settings.users if callable(settings.users) else None
        self._fixed: dict[str, Policy] = {}
        if not callable(settings.users):
            self._fixed = {user: policy_of_settings(found) for user, found in settings.users.items()}
        self._default = self._fixed.get(EVERYBODY, DEFAULT_POLICY)
        self._answers: dict[str, tuple[float, Policy]] = {}
        self._now = now

    def policy_of(self, user_id: str) -> Policy:
        """The policy the settings give this user; ``ImproperlyConfigured`` when it is not valid."""
        if self._ask is None:
            return self._fixed.get(user_id, self._default)
        now = self._now()
        known = self._answers.get(user_id)
        if known and known[0] > now:
            return known[1]
        policy = self._asked(user_id, self._ask)
        if len(self._answers) >= KEEP_USERS:
            self._answers.clear()
        self._answers[user_id] = (now + KEEP_S, policy)
        return policy

    def group_of(self, user_id: str) -> str:
        """The named worker this user is assigned to, or ``*``."""
        return self._group.get(user_id, EVERYBODY)

    def _asked(self, user_id: str, ask: Callable[[str], Any]) -> Policy:
        encode(user_id)
        try:
            answer = ask(user_id)
        except Exception as error:  # the project's own function may fail in any way
            raise ImproperlyConfigured(
                f"FAIRQUE['USERS'] failed for user {user_id!r}: {type(error).__name__}: {error}"
            ) from error
        if answer is None:
            return DEFAULT_POLICY
        policy, problems = policy_from(answer, f"The answer of FAIRQUE['USERS'] for {user_id!r}")
        if problems:
            raise ImproperlyConfigured("\n".join(f"{p.text} ({p.id}) {p.hint}".rstrip() for p in problems))
        return policy
