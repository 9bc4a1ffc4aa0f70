"""Where the shapes of a chart go. The template draws them; the style sheet colours them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

from .summary import Hour

# Upper bounds in minutes of all but the last colour; the same on every page, so that pages compare.
HEAT_BOUNDS = (5, 15, 30, 45, 60, 90)

FIRST_HOUR, LAST_HOUR = 5, 23
LEFT, COLUMN, BAR = 80, 46, 34
TOP, PLOT_HEIGHT = 34, 250
FLIGHTS_Y, CANCELLED_Y = 58, 96
"""Below the plot's floor: the middle of the flights' row, and the ground of the cancelled ones."""
CANCELLED_HEIGHT = 30
# The share of cancelled flights that fills the height; few hours have more.
MOST_CANCELLED = 0.15


def heat(minutes: int | None) -> int:
    """The colour of a delay, 0 (on time) to 6 (very late)."""
    if minutes is None:
        return 0
    return sum(minutes >= bound for bound in HEAT_BOUNDS)


def heat_legend() -> list[tuple[int, str]]:
    """Colour and words for the legend."""
    labels = [f"under {HEAT_BOUNDS[0]}"]
    labels += [f"{low}–{high - 1}" for low, high in pairwise(HEAT_BOUNDS)]
    return list(enumerate([*labels, f"{HEAT_BOUNDS[-1]} or more"]))


@dataclass(frozen=True, slots=True)
class Grid:
    """A horizontal line of the chart."""

    y: float
    minutes: int


@dataclass(frozen=True, slots=True)
class Column:
    """One hour of the chart."""

    hour: Hour
    x: float
    """Its middle."""
    heat: int
    bar_x: float
    bar_y: float
    bar_height: float
    label_y: float
    median_y: float | None
    bubble: float
    cancelled_y: float
    cancelled_height: float
    cancelled_percent: float

    @property
    def until(self) -> int:
        """The full hour at which it ends."""
        return self.hour.hour + 1


@dataclass(frozen=True, slots=True)
class DelayChart:
    """Departure delays by scheduled hour: a bar up to the 90th percentile, a dot at the median."""

    columns: list[Column]
    grid: list[Grid]
    zero_y: float
    floor_y: float
    flights_y: float
    cancelled_y: float
    width: int
    height: int
    right: int
    hour_labels: list[tuple[float, str]]


def delay_chart(hours: Iterable[Hour]) -> DelayChart:
    """The chart of these hours. Every chart spans the same day, so that charts compare."""
    shown = list(hours)
    first = min([FIRST_HOUR, *(hour.hour for hour in shown)])
    last = max([LAST_HOUR, *(hour.hour for hour in shown)])
    low, high, step = _scale(shown)
    floor = TOP + PLOT_HEIGHT

    def y(minutes: float) -> float:
        return round(floor - (minutes - low) / (high - low) * PLOT_HEIGHT, 1)

    most = max([1, *(hour.flights for hour in shown)])
    columns = []
    for hour in shown:
        x = LEFT + (hour.hour - first + 0.5) * COLUMN
        p90 = hour.p90 or 0
        share = hour.cancelled / hour.flights
        height = round(min(1.0, share / MOST_CANCELLED) * CANCELLED_HEIGHT, 1)
        if hour.cancelled:
            height = max(height, 3.0)
        columns.append(
            Column(
                hour=hour,
                x=x,
                heat=heat(hour.p90),
                bar_x=x - BAR / 2,
                bar_y=y(max(p90, 0)),
                bar_height=max(1.5, round(abs(y(p90) - y(0)), 1)) if hour.departed else 0,
                label_y=y(max(p90, 0)) - 8,
                median_y=None if hour.median is None else y(hour.median),
                bubble=round(max(2.0, 15 * sqrt(hour.flights / most)), 1),
                cancelled_y=round(floor + CANCELLED_Y + CANCELLED_HEIGHT - height, 1),
                cancelled_height=height,
                cancelled_percent=round(share * 100, 1),
            )
        )
    return DelayChart(
        columns=columns,
        grid=[Grid(y(minutes), minutes) for minutes in range(low, high + 1, step)],
        zero_y=y(0),
        floor_y=floor,
        flights_y=floor + FLIGHTS_Y,
        cancelled_y=floor + CANCELLED_Y + CANCELLED_HEIGHT,
        width=LEFT + (last - first + 1) * COLUMN + 14,
        height=floor + CANCELLED_Y + CANCELLED_HEIGHT + 26,
        right=LEFT + (last - first + 1) * COLUMN,
        hour_labels=[(LEFT + (hour - first + 0.5) * COLUMN, f"{hour}") for hour in range(first, last + 1)],
    )


def _scale(hours: Sequence[Hour]) -> tuple[int, int, int]:
    values = [value for hour in hours for value in (hour.median, hour.p90) if value is not None]
    top, bottom = max([20, *values]), min([0, *values])
    step = next(step for step in (10, 20, 30, 60, 120, 240, 480, 960) if top - bottom <= 6 * step)
    return bottom // step * step, -(-top // step) * step, step


def headline(hours: Sequence[Hour]) -> str:
    """What the chart shows, in a sentence."""
    busy = max([0, *(hour.departed for hour in hours)])
    # An hour with a handful of flights is no finding.
    known = [hour for hour in hours if hour.p90 is not None and hour.departed * 10 >= busy]
    if not known:
        return "No flight departed."
    best, worst = min(known, key=_p90), max(known, key=_p90)
    if len(known) == 1:
        if worst.departed == 1:
            return f"The one flight, due at {_oclock(worst)}, left {late(worst.median)}."
        return f"All left at {_oclock(worst)}; one in ten was {late(worst.p90)} or worse."
    return (
        f"Of the flights due from {_oclock(worst)}, one in ten leaves {late(worst.p90)} or worse; "
        f"of those due from {_oclock(best)}, {late(best.p90)}."
    )


def late(minutes: int | None) -> str:
    """A delay in words."""
    if minutes is None:
        return "at an unknown time"
    if minutes == 0:
        return "on the minute"
    unit = "minute" if abs(minutes) == 1 else "minutes"
    return f"{abs(minutes)} {unit} {'late' if minutes > 0 else 'early'}"


def _p90(hour: Hour) -> int:
    return hour.p90 or 0


def _oclock(hour: Hour) -> str:
    return f"{hour.hour}:00"


@dataclass(frozen=True, slots=True)
class HeatCell:
    """One hour of one airline on the overview."""

    hour: int
    p90: int | None
    flights: int
    heat: int


def heat_row(hours: Iterable[Hour]) -> list[HeatCell | None]:
    """The hours of the overview's columns; ``None`` where the airline has no departure."""
    by_hour = {hour.hour: hour for hour in hours}
    row: list[HeatCell | None] = []
    for number in range(FIRST_HOUR, LAST_HOUR + 1):
        hour = by_hour.get(number)
        known = hour is not None and hour.p90 is not None
        row.append(HeatCell(number, hour.p90, hour.flights, heat(hour.p90)) if hour and known else None)
    return row
