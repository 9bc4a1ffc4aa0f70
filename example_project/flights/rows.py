"""What one row of an upload says, checked. No query, no queue: fields in, figures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .geo import Point, great_circle_miles
from .outcomes import DistanceCheck, Outcome

COLUMNS = (
    "year", "month", "day", "carrier", "flight", "tailnum", "origin", "dest",
    "sched_dep_time", "dep_delay", "arr_delay", "air_time", "distance",
)  # fmt: skip
MISSING = ("", "NA")

# The Earth is no sphere: real distances are up to 0.6 % off the formula's.
TOLERANCE = 0.01
FASTEST_MPH = 700
LONGEST_DELAY = 48 * 60


class Unreadable(ValueError):
    """The row cannot be used; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """The fields of a ``Flight`` that come from its row."""

    outcome: Outcome
    problem: str = ""
    day: int | None = None
    hour: int | None = None
    number: str = ""
    tailnum: str = ""
    origin: str = ""
    dest: str = ""
    dep_delay: int | None = None
    arr_delay: int | None = None
    made_up: int | None = None
    air_time: int | None = None
    distance: int | None = None
    great_circle: float | None = None
    distance_check: DistanceCheck = DistanceCheck.UNKNOWN


def check(fields: Sequence[str], airports: Mapping[str, Point]) -> CheckedRow:
    """Everything the row tells. A row that makes no sense comes back as ``INVALID`` with a reason."""
    try:
        return _checked(fields, airports)
    except Unreadable as error:
        return CheckedRow(Outcome.INVALID, problem=str(error)[:200])


def _checked(fields: Sequence[str], airports: Mapping[str, Point]) -> CheckedRow:
    if len(fields) != len(COLUMNS):
        raise Unreadable(f"{len(fields)} fields instead of {len(COLUMNS)}")
    row = dict(zip(COLUMNS, fields, strict=True))
    dep_delay = _minutes(row, "dep_delay")
    arr_delay = _minutes(row, "arr_delay")
    air_time = _minutes(row, "air_time")
    distance = _required(row, "distance", lowest=1, highest=12_500)
    if dep_delay is None and (arr_delay is not None or air_time is not None):
        raise Unreadable("arrived without having departed")
    if (arr_delay is None) != (air_time is None):
        raise Unreadable("arr_delay and air_time must be there together")
    if air_time is not None and (air_time <= 0 or distance / air_time * 60 > FASTEST_MPH):
        raise Unreadable(f"{distance} miles in {air_time} minutes")

    great_circle, distance_check = _distance(row["origin"], row["dest"], distance, airports)
    return CheckedRow(
        outcome=_outcome(dep_delay, arr_delay),
        day=_required(row, "day", lowest=1, highest=31),
        hour=_hour(row),
        number=row["flight"],
        tailnum="" if row["tailnum"] in MISSING else row["tailnum"],
        origin=row["origin"],
        dest=row["dest"],
        dep_delay=dep_delay,
        arr_delay=arr_delay,
        made_up=None if dep_delay is None or arr_delay is None else dep_delay - arr_delay,
        air_time=air_time,
        distance=distance,
        great_circle=great_circle,
        distance_check=distance_check,
    )


def _outcome(dep_delay: int | None, arr_delay: int | None) -> Outcome:
    if dep_delay is None:
        return Outcome.CANCELLED
    return Outcome.INCOMPLETE if arr_delay is None else Outcome.FLOWN


def _distance(
    origin: str, dest: str, reported: int, airports: Mapping[str, Point]
) -> tuple[float | None, DistanceCheck]:
    if origin not in airports or dest not in airports:
        return None, DistanceCheck.UNKNOWN
    miles = great_circle_miles(airports[origin], airports[dest])
    agrees = abs(miles - reported) <= TOLERANCE * reported
    return miles, DistanceCheck.AGREES if agrees else DistanceCheck.DIFFERS


def _hour(row: Mapping[str, str]) -> int:
    hour, minute = divmod(_required(row, "sched_dep_time", lowest=0, highest=2_400), 100)
    if minute > 59:
        raise Unreadable(f"sched_dep_time is no time of day: {row['sched_dep_time']!r:.40}")
    return hour % 24


def _minutes(row: Mapping[str, str], name: str) -> int | None:
    if row[name] in MISSING:
        return None
    return _required(row, name, lowest=-LONGEST_DELAY, highest=LONGEST_DELAY)


def _required(row: Mapping[str, str], name: str, *, lowest: int, highest: int) -> int:
    try:
        value = int(row[name])
    except ValueError:
        raise Unreadable(f"{name} is no number: {row[name]!r:.40}") from None
    if not lowest <= value <= highest:
        raise Unreadable(f"{name} is {value}, not between {lowest} and {highest}")
    return value
