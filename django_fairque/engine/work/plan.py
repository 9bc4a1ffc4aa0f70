"""What one worker command is told to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..keys import Space
from ..options import DEFAULTS, Options
from ..serve import Serve


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """Whom a worker serves, with how many processes and slots, and when it ends."""

    name: str
    serve: Serve
    space: Space = Space()
    group: str = ""
    """The name in the settings under which it serves its assigned users, if it has any."""
    assigned: tuple[str, ...] = ()
    """The users of that group; some may still be in another, by older settings."""
    reach: tuple[str, ...] = ()
    """Groups of single users it serves: it hears their bell, though most rings are for others."""
    is_watched: bool = False
    """Whether others serve its users when it seems dead: then it shows more often that it lives."""
    processes: int = 1
    concurrency: int = 40
    """How many tasks a process runs at once, sync and async together."""
    burst: bool = False
    """End when nothing is left to serve."""
    max_tasks: int | None = None
    """Replace a process by a fresh one after so many tasks."""
    grace_s: float = 30.0
    """How long tasks may go on running after the worker was told to stop."""
    options: Options = DEFAULTS
    about: Mapping[str, str] = field(default_factory=dict)
    """What the worker says of itself, for those who look at the list of workers."""
    park_ms: int = 30_000
    """How long a task waits whose function this worker does not know."""
    idle_s: float = 20.0
    """How long an idle process sleeps when nobody rings and nothing becomes due."""
    patience_s: float = 1.0
    """A burst waits for tasks that become due this soon; it does not wait for later ones."""

    @property
    def renew_s(self) -> float:
        """How often leases are renewed: two renewals may get lost before the tasks do."""
        third = self.options.lease_ms / 3_000
        if self.options.fairness == "time":
            return min(1.0, third)  # a renewal charges for the time used so far
        return min(1.5, third) if self.is_watched else third
