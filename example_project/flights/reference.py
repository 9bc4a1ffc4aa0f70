"""The files in ``data/``: airlines, airports, and the month as the airlines upload it."""

from __future__ import annotations

import csv
import gzip
from functools import cache
from pathlib import Path

from .geo import Point

DATA = Path(__file__).resolve().parent.parent / "data"


@cache
def airlines() -> dict[str, str]:
    """Names of the airlines by code."""
    with (DATA / "airlines.csv").open(newline="", encoding="utf-8") as file:
        return {row["carrier"]: row["name"] for row in csv.DictReader(file)}


@cache
def airports() -> dict[str, Point]:
    """Positions of the airports by code. Read once per process."""
    with (DATA / "airports.csv").open(newline="", encoding="utf-8") as file:
        return {row["faa"]: Point(float(row["lat"]), float(row["lon"])) for row in csv.DictReader(file)}


@cache
def months() -> dict[str, list[list[str]]]:
    """The rows of every airline, the airline with most rows first, as the file has them."""
    uploads: dict[str, list[list[str]]] = {}
    with gzip.open(DATA / "flights-2013-01.csv.gz", "rt", newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        carrier = next(lines).index("carrier")
        for line in lines:
            uploads.setdefault(line[carrier], []).append(line)
    return dict(sorted(uploads.items(), key=lambda item: -len(item[1])))
