"""Distances on the globe."""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt
from typing import NamedTuple

EARTH_RADIUS_MILES = 3_958.7613


class Point(NamedTuple):
    """A place, in degrees."""

    lat: float
    lon: float


def great_circle_miles(a: Point, b: Point) -> float:
    """The shortest way from ``a`` to ``b`` over a round Earth, in statute miles."""
    lat_a, lat_b = radians(a.lat), radians(b.lat)
    haversine = sin((lat_b - lat_a) / 2) ** 2 + cos(lat_a) * cos(lat_b) * sin(radians(b.lon - a.lon) / 2) ** 2
    return 2 * EARTH_RADIUS_MILES * asin(sqrt(haversine))
