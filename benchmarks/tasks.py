"""The bodies that every system of the comparison runs, as tasks."""

import tasks as bodies  # type: ignore[import-not-found]  # the harness puts its folder on the path

from django_fairque import task

noop = task(bodies.noop)
sleepy = task(bodies.sleepy)
anoop = task(bodies.anoop)
asleepy = task(bodies.asleepy)
