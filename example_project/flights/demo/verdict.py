"""Whether the demo went as it must, and how the airlines fared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isclose

from django.db.models import Count, Max, Min, Q, Sum

from ..models import Flight, Upload
from ..outcomes import DistanceCheck, Outcome
from .expected import Figures


@dataclass(frozen=True, slots=True)
class Line:
    """How one airline fared. Seconds count from the start of the very first task."""

    airline: str
    tasks: int
    done: int
    first: float
    last: float
    fifo_first: float
    fifo_last: float

    @property
    def lost(self) -> int:
        """Tasks whose row is not there."""
        return self.tasks - self.done


@dataclass(frozen=True, slots=True)
class Comparison:
    """The airlines in the order in which they were enqueued, and the measure of the queue they avoided."""

    lines: list[Line]
    seconds: float
    """From the first start to the last finish."""
    tasks: int

    @property
    def ms_per_task(self) -> float:
        """Mean task time divided by tasks at once: how often a task left the queue in this run."""
        return self.seconds / self.tasks * 1_000


def compare(order: Mapping[str, int]) -> Comparison:
    """Measured times beside those of one queue served first in, first out.

    ``order`` gives the number of tasks of each airline, in the order in which they were enqueued. In
    one queue a task starts when all before it have left, at the pace of this very run.
    """
    measured = {
        airline: (done, first, complete.timestamp())
        for airline, done, first, complete in Upload.objects.annotate(
            done=Count("flights"), first=Min("flights__started_at")
        ).values_list("airline", "done", "first", "complete_at")
        if complete is not None
    }
    zero = min(first for _, first, _ in measured.values())
    seconds = max(complete for _, _, complete in measured.values()) - zero
    total = sum(order.values())
    lines, before = [], 0
    for airline, tasks in order.items():
        done, first, complete = measured[airline]
        lines.append(
            Line(
                airline=airline,
                tasks=tasks,
                done=done,
                first=first - zero,
                last=complete - zero,
                fifo_first=before * seconds / total,
                fifo_last=(before + tasks) * seconds / total,
            )
        )
        before += tasks
    return Comparison(lines, seconds, total)


def start_position(airline: str) -> int:
    """Which of all tasks the airline's first one was, counted by their starts."""
    first = Flight.objects.filter(upload__airline=airline).aggregate(tick=Min("start_tick"))["tick"]
    return Flight.objects.filter(start_tick__lt=first).count() + 1


def disagreements(expected: Mapping[str, Figures]) -> Iterator[str]:
    """Everything that is stored and should be otherwise, in words."""
    uploads = {upload.airline: upload for upload in Upload.objects.all()}
    if set(uploads) != set(expected):
        yield f"airlines stored: {sorted(uploads)}, in the file: {sorted(expected)}"
    for airline, figures in expected.items():
        if airline in uploads:
            yield from _rows(airline, uploads[airline], figures)
            yield from _sums(airline, uploads[airline], figures)
            yield from _summary(airline, uploads[airline], figures)


def _rows(airline: str, upload: Upload, figures: Figures) -> Iterator[str]:
    rows = upload.flights.aggregate(
        stored=Count("pk"), different=Count("row", distinct=True), first=Min("row"), last=Max("row")
    )
    wanted = {"stored": figures.rows, "different": figures.rows, "first": 1, "last": figures.rows}
    for name, value in wanted.items():
        if rows[name] != value:
            yield f"{airline}: row numbers, {name}: {rows[name]}, must be {value}"


def _sums(airline: str, upload: Upload, figures: Figures) -> Iterator[str]:
    stored = upload.flights.aggregate(
        cancelled=Count("pk", filter=Q(outcome=Outcome.CANCELLED)),
        incomplete=Count("pk", filter=Q(outcome=Outcome.INCOMPLETE)),
        invalid=Count("pk", filter=Q(outcome=Outcome.INVALID)),
        without_tailnum=Count("pk", filter=Q(tailnum="")),
        without_coordinates=Count("pk", filter=Q(distance_check=DistanceCheck.UNKNOWN)),
        differs=Count("pk", filter=Q(distance_check=DistanceCheck.DIFFERS)),
        dep_delay=Sum("dep_delay", default=0),
        arr_delay=Sum("arr_delay", default=0),
        air_time=Sum("air_time", default=0),
        distance=Sum("distance", default=0),
    )
    for name in stored:
        # Every row of the file can be read, and every distance agrees.
        wanted = getattr(figures, name, 0)
        if stored[name] != wanted:
            yield f"{airline}: {name}: {stored[name]}, must be {wanted}"
    miles = upload.flights.aggregate(miles=Sum("great_circle", default=0.0))["miles"]
    if not isclose(miles, figures.great_circle, rel_tol=1e-9, abs_tol=1e-6):
        yield f"{airline}: great-circle miles: {miles}, must be {figures.great_circle}"


def _summary(airline: str, upload: Upload, figures: Figures) -> Iterator[str]:
    summary = upload.report
    if summary is None:
        yield f"{airline}: no report"
        return
    pairs = {
        "flights": (summary.flights, figures.rows),
        "cancelled": (summary.cancelled, figures.cancelled),
        "late": (summary.late, figures.late),
        "dep_total": (summary.dep_total, figures.dep_delay),
        "arr_total": (summary.arr_total, figures.arr_delay),
        "dep_median": (summary.dep_median, figures.dep_median),
        "dep_p90": (summary.dep_p90, figures.dep_p90),
        "hours": (
            {hour.hour: (hour.flights, hour.cancelled, hour.median, hour.p90) for hour in summary.hours},
            figures.hours,
        ),
    }
    for name, (reported, wanted) in pairs.items():
        if reported != wanted:
            yield f"{airline}: report, {name}: {reported}, must be {wanted}"
