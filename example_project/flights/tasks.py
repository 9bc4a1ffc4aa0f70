"""The work done in the background, each airline in its own turn."""

from __future__ import annotations

import time
from dataclasses import asdict

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from django_fairque import Priority, Retry, task

from .models import Flight, Upload
from .reference import airports
from .rows import check
from .summary import summarise


@task(retry=Retry.exponential(max_attempts=5))
def import_flight(upload_id: int, row: int, fields: list[str]) -> str:
    """Check one row of an upload and store it. Says what became of the flight."""
    # Taken first: the demo shows in which order tasks began.
    start_tick, started_at = time.monotonic_ns(), time.time()
    checked = check(fields, airports())
    try:
        Flight.objects.create(
            upload_id=upload_id,
            row=row,
            started_at=started_at,
            start_tick=start_tick,
            **{name: getattr(checked, name) for name in checked.__slots__},
        )
    except IntegrityError:
        # Delivered again after its worker was lost: the row may be there already.
        if not Flight.objects.filter(upload_id=upload_id, row=row).exists():
            if Upload.objects.filter(pk=upload_id).exists():
                raise
            return "withdrawn"  # a newer upload took this one's place
    _summarise_when_complete(upload_id)
    return checked.outcome.value


def _summarise_when_complete(upload_id: int) -> None:
    """Enqueue the summary if every row is stored and no other task noticed first.

    Each task looks after it has stored its own row, so the last one to finish sees them all, in
    whatever order they ran. A task that dies between its row and this look is delivered again.
    """
    # Rows run nearly in order, so this look into two indexes spares all but the last tasks the count.
    if not Upload.objects.filter(pk=upload_id, complete_at=None, flights__row=F("rows")).exists():
        return
    upload = Upload.objects.get(pk=upload_id)
    if upload.flights.count() != upload.rows:
        return
    with transaction.atomic():
        noticed_first = Upload.objects.filter(pk=upload_id, complete_at=None).update(
            complete_at=timezone.now()
        )
        if noticed_first:
            # Enqueued before the commit: if this process dies in between, the upload is not marked
            # complete, and the task's next delivery enqueues a summary again. That one is harmless.
            summarise_upload.using(user_id=upload.airline, immediate=True).enqueue(upload_id)


@task(priority=Priority.HIGH, retry=Retry.exponential(max_attempts=5))
def summarise_upload(upload_id: int) -> int:
    """Work out the airline's report and store it once. Returns the number of flights in it."""
    flights = list(Flight.objects.filter(upload_id=upload_id).order_by("row"))
    summary = summarise(flights)
    Upload.objects.filter(pk=upload_id, summarised_at=None).update(
        summary=asdict(summary), summarised_at=timezone.now()
    )
    return summary.flights
