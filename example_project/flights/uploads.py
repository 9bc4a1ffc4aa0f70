"""Start an airline's import, and say how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Count, Min

from .models import Flight, Upload
from .reference import airlines
from .tasks import import_flight


def start_import(airline: str, rows: Sequence[Sequence[str]]) -> Upload:
    """Take an airline's month: one task per row, enqueued for that airline. Replaces its last one.

    If the queue takes nothing, its error is raised and no upload is left behind.
    """
    with transaction.atomic():
        Upload.objects.filter(airline=airline).delete()
        upload = Upload.objects.create(airline=airline, rows=len(rows))
    try:
        import_flight.enqueue_many(
            [(upload.pk, number, list(row)) for number, row in enumerate(rows, start=1)],
            user_id=airline,
        )
    except Exception:
        # Tasks that were taken before the error find their upload gone and do nothing.
        upload.delete()
        raise
    return upload


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an airline's import is. Seconds count from the moment it was uploaded."""

    airline: str
    name: str
    rows: int
    stored: int
    first_after: float | None
    """Seconds until its first task began."""
    finished_after: float | None
    """Seconds until its report was ready."""
    state: str

    @property
    def percent(self) -> int:
        """Full per cents: 100 only when every row is stored."""
        return self.stored * 100 // self.rows if self.rows else 100

    @property
    def is_finished(self) -> bool:
        """Whether the report is ready."""
        return self.state == "finished"


def progress() -> list[Progress]:
    """Where every upload stands, the largest first. Two queries, whatever the number of uploads."""
    chosen = list(Upload.objects.defer("summary").order_by("-rows", "airline"))
    stored = {
        upload_id: (count, first)
        for upload_id, count, first in Flight.objects.filter(upload__in=chosen)
        .values_list("upload_id")
        .annotate(Count("pk"), Min("started_at"))
    }
    return [_progress(upload, *stored.get(upload.pk, (0, None))) for upload in chosen]


def _progress(upload: Upload, stored: int, first: float | None) -> Progress:
    created = upload.created_at.timestamp()
    finished = upload.summarised_at
    if finished is not None:
        state = "finished"
    elif upload.complete_at is not None:
        state = "summarising"
    else:
        state = "importing" if stored else "waiting"
    return Progress(
        airline=upload.airline,
        name=airlines().get(upload.airline, upload.airline),
        rows=upload.rows,
        stored=stored,
        first_after=None if first is None else max(0.0, first - created),
        finished_after=None if finished is None else finished.timestamp() - created,
        state=state,
    )
