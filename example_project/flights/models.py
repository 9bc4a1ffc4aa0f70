"""What the site stores: the month an airline uploaded, and its flights."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from .outcomes import DistanceCheck, Outcome
from .summary import Summary


class Upload(models.Model):
    """The month of one airline. A new upload replaces the airline's old one."""

    airline = models.CharField(max_length=2, unique=True)
    rows = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)
    complete_at = models.DateTimeField(null=True, default=None)
    """When all rows were stored; set once, by the task that noticed."""
    summary = models.JSONField(null=True, default=None)
    summarised_at = models.DateTimeField(null=True, default=None)

    def __str__(self) -> str:
        return f"{self.airline}, {self.rows} rows"

    @property
    def report(self) -> Summary | None:
        """What its report shows, once that has been worked out."""
        return None if self.summary is None else Summary.from_stored(self.summary)


class Flight(models.Model):
    """One row of an upload, checked."""

    # Rows are found through the unique constraint; one index less to write per task.
    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="flights", db_index=False)
    row = models.PositiveIntegerField()
    outcome = models.CharField(max_length=10, choices=Outcome)
    problem = models.CharField(max_length=200, blank=True)
    day = models.PositiveSmallIntegerField(null=True)
    hour = models.PositiveSmallIntegerField(null=True)
    number = models.CharField(max_length=8)
    tailnum = models.CharField(max_length=8, blank=True)
    origin = models.CharField(max_length=4)
    dest = models.CharField(max_length=4)
    dep_delay = models.SmallIntegerField(null=True)
    arr_delay = models.SmallIntegerField(null=True)
    made_up = models.SmallIntegerField(null=True)
    """Minutes of the departure's delay that were made up on the way."""
    air_time = models.SmallIntegerField(null=True)
    distance = models.PositiveIntegerField(null=True)
    great_circle = models.FloatField(null=True)
    distance_check = models.CharField(max_length=8, choices=DistanceCheck)
    started_at = models.FloatField()
    """When the task that stored this row began, in seconds since the epoch."""
    start_tick = models.BigIntegerField()
    """The same on the machine's steady clock (ns): the order in which tasks began."""

    class Meta:
        constraints = [
            # A task may be delivered twice; its row is stored once.
            models.UniqueConstraint(fields=["upload", "row"], name="one_flight_per_row"),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.origin}-{self.dest}"
