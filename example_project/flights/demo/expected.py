"""What must come out, counted straight from the files.

It shares no code with the tasks, on purpose: other formulas, other loops, so that a mistake on
one side shows.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent.parent / "data"
EARTH_MILES = 3_958.7613


@dataclass
class Figures:
    """The sums of one airline."""

    rows: int = 0
    cancelled: int = 0
    incomplete: int = 0
    without_tailnum: int = 0
    without_coordinates: int = 0
    dep_delay: int = 0
    arr_delay: int = 0
    air_time: int = 0
    distance: int = 0
    great_circle: float = 0.0
    late: int = 0
    dep_median: int | None = None
    dep_p90: int | None = None
    hours: dict[int, tuple[int, int, int | None, int | None]] = field(default_factory=dict)
    """Flights, cancelled, median and 90th percentile by scheduled hour."""


def count(limit: int | None = None) -> dict[str, Figures]:
    """The figures of every airline, from at most ``limit`` of its rows."""
    vectors = _airports()
    figures: dict[str, Figures] = {}
    delays: dict[tuple[str, int], Counter[int]] = {}
    volume: Counter[tuple[str, int]] = Counter()
    cancelled: Counter[tuple[str, int]] = Counter()
    with gzip.open(DATA / "flights-2013-01.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            carrier = row["carrier"]
            sums = figures.setdefault(carrier, Figures())
            if limit is not None and sums.rows >= limit:
                continue
            slot = carrier, int(row["sched_dep_time"].zfill(4)[:2])
            volume[slot] += 1
            sums.rows += 1
            sums.distance += int(row["distance"])
            sums.without_tailnum += row["tailnum"] == "NA"
            if row["dep_delay"] == "NA":
                sums.cancelled += 1
                cancelled[slot] += 1
            else:
                sums.incomplete += row["arr_delay"] == "NA"
                sums.dep_delay += int(row["dep_delay"])
                delays.setdefault(slot, Counter())[int(row["dep_delay"])] += 1
            if row["arr_delay"] != "NA":
                sums.arr_delay += int(row["arr_delay"])
                sums.air_time += int(row["air_time"])
                sums.late += int(row["arr_delay"]) > 14
            if row["dest"] in vectors and row["origin"] in vectors:
                sums.great_circle += _miles(vectors[row["origin"]], vectors[row["dest"]])
            else:
                sums.without_coordinates += 1
    for carrier, sums in figures.items():
        slots = sorted(slot for slot in volume if slot[0] == carrier)
        everything = sum((delays.get(slot, Counter()) for slot in slots), Counter[int]())
        sums.dep_median, sums.dep_p90 = _reached(everything, "0.5"), _reached(everything, "0.9")
        for slot in slots:
            seen = delays.get(slot, Counter())
            sums.hours[slot[1]] = (
                volume[slot],
                cancelled[slot],
                _reached(seen, "0.5"),
                _reached(seen, "0.9"),
            )
    return figures


def _reached(seen: Counter[int], share: str) -> int | None:
    """The first value at which this share of all values has been counted."""
    wanted, counted = Fraction(share) * seen.total(), 0
    for value in sorted(seen):
        counted += seen[value]
        if counted >= wanted:
            return value
    return None


Vector = tuple[float, float, float]


def _airports() -> dict[str, Vector]:
    vectors = {}
    with (DATA / "airports.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            lat, lon = math.radians(float(row["lat"])), math.radians(float(row["lon"]))
            vectors[row["faa"]] = (
                math.cos(lat) * math.cos(lon),
                math.cos(lat) * math.sin(lon),
                math.sin(lat),
            )
    return vectors


def _miles(a: Vector, b: Vector) -> float:
    # The angle between two vectors, from the chord between their tips.
    return EARTH_MILES * 2 * math.asin(math.dist(a, b) / 2)
