"""An airline's figures, from its stored flights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any

from .outcomes import DistanceCheck, Outcome

if TYPE_CHECKING:
    from .models import Flight

# What the US Department of Transportation calls late.
LATE_MINUTES = 15
# A route with fewer flights in the month says more about chance than about the route.
FEWEST_ON_A_ROUTE = 5
ROUTES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Hour:
    """The flights scheduled to leave within one hour of the day."""

    hour: int
    flights: int
    departed: int
    cancelled: int
    median: int | None
    p90: int | None


@dataclass(frozen=True, slots=True)
class Route:
    """The flights between two airports."""

    origin: str
    dest: str
    flights: int
    cancelled: int
    median: int
    p90: int


@dataclass(frozen=True, slots=True)
class Distances:
    """How the reported distances compare with the great circle."""

    agrees: int = 0
    differs: int = 0
    unknown: int = 0
    unknown_airports: list[str] = field(default_factory=list)
    furthest_off: str = ""
    """The route whose distance is furthest off, and by how much."""
    furthest_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What an airline's report shows. Delays are in minutes."""

    flights: int
    flown: int
    incomplete: int
    cancelled: int
    invalid: int
    without_tailnum: int
    late: int
    """Flights that arrived 15 minutes late or later."""
    dep_median: int | None
    dep_p90: int | None
    dep_total: int
    arr_total: int
    made_up_total: int
    hours: list[Hour]
    routes: list[Route]
    distances: Distances

    @property
    def late_percent(self) -> int:
        """How many of the flights that arrived were late, in full per cents."""
        return round(100 * self.late / self.flown) if self.flown else 0

    @property
    def on_the_way(self) -> str:
        """Whether delays shrank or grew between departure and arrival, in a sentence."""
        minutes = abs(self.made_up_total)
        if self.made_up_total >= 0:
            return f"Between departure and arrival the flights made up {minutes:,} minutes of their delays."
        return f"Between departure and arrival the flights lost another {minutes:,} minutes."

    @classmethod
    def from_stored(cls, stored: dict[str, Any]) -> Summary:
        """The summary of an upload, back from its JSON field."""
        return cls(
            **{
                **stored,
                "hours": [Hour(**hour) for hour in stored["hours"]],
                "routes": [Route(**route) for route in stored["routes"]],
                "distances": Distances(**stored["distances"]),
            }
        )


def percentile(values: Collection[int], percent: int) -> int | None:
    """The smallest value that at least ``percent`` of the values do not exceed (nearest rank)."""
    if not values:
        return None
    return sorted(values)[ceil(len(values) * percent / 100) - 1]


def summarise(flights: Collection[Flight]) -> Summary:
    """All figures of one airline's flights."""
    by_outcome = dict.fromkeys(Outcome, 0)
    for flight in flights:
        by_outcome[Outcome(flight.outcome)] += 1
    departures = _departure_delays(flights)
    arrivals = [flight.arr_delay for flight in flights if flight.arr_delay is not None]
    return Summary(
        flights=len(flights),
        flown=by_outcome[Outcome.FLOWN],
        incomplete=by_outcome[Outcome.INCOMPLETE],
        cancelled=by_outcome[Outcome.CANCELLED],
        invalid=by_outcome[Outcome.INVALID],
        without_tailnum=sum(not flight.tailnum for flight in flights),
        late=sum(delay >= LATE_MINUTES for delay in arrivals),
        dep_median=percentile(departures, 50),
        dep_p90=percentile(departures, 90),
        dep_total=sum(departures),
        arr_total=sum(arrivals),
        made_up_total=sum(flight.made_up for flight in flights if flight.made_up is not None),
        hours=_hours(flights),
        routes=_worst_routes(flights),
        distances=_distances(flights),
    )


def _departure_delays(flights: Iterable[Flight]) -> list[int]:
    return [flight.dep_delay for flight in flights if flight.dep_delay is not None]


def _cancelled(flights: Iterable[Flight]) -> int:
    return sum(flight.outcome == Outcome.CANCELLED for flight in flights)


def _hours(flights: Iterable[Flight]) -> list[Hour]:
    grouped: dict[int, list[Flight]] = defaultdict(list)
    for flight in flights:
        if flight.hour is not None:
            grouped[flight.hour].append(flight)
    hours = []
    for hour, group in sorted(grouped.items()):
        delays = _departure_delays(group)
        hours.append(
            Hour(
                hour=hour,
                flights=len(group),
                departed=len(delays),
                cancelled=_cancelled(group),
                median=percentile(delays, 50),
                p90=percentile(delays, 90),
            )
        )
    return hours


def _worst_routes(flights: Collection[Flight]) -> list[Route]:
    grouped: dict[tuple[str, str], list[Flight]] = defaultdict(list)
    for flight in flights:
        grouped[flight.origin, flight.dest].append(flight)
    fewest = min(FEWEST_ON_A_ROUTE, len(flights))
    routes = []
    for (origin, dest), group in grouped.items():
        delays = [flight.arr_delay for flight in group if flight.arr_delay is not None]
        median, p90 = percentile(delays, 50), percentile(delays, 90)
        if len(group) < fewest or median is None or p90 is None:
            continue
        routes.append(Route(origin, dest, len(group), _cancelled(group), median, p90))
    routes.sort(key=lambda route: (-route.p90, -route.median, route.origin, route.dest))
    return routes[:ROUTES_SHOWN]


def _distances(flights: Iterable[Flight]) -> Distances:
    counts = dict.fromkeys(DistanceCheck, 0)
    unknown: set[str] = set()
    furthest: tuple[float, str] = (0.0, "")
    for flight in flights:
        counts[DistanceCheck(flight.distance_check)] += 1
        if flight.great_circle is None or not flight.distance:
            unknown.add(flight.dest)
            continue
        off = flight.distance - flight.great_circle
        percent = abs(off) / flight.distance * 100
        if percent > furthest[0]:
            furthest = (
                percent,
                f"{flight.origin}–{flight.dest}: {flight.distance:,} miles reported, "
                f"{flight.great_circle:,.1f} by the formula",
            )
    return Distances(
        agrees=counts[DistanceCheck.AGREES],
        differs=counts[DistanceCheck.DIFFERS],
        unknown=counts[DistanceCheck.UNKNOWN],
        unknown_airports=sorted(unknown - {""}),
        furthest_off=furthest[1],
        furthest_percent=round(furthest[0], 2),
    )
