"""A row tells what became of its flight, and nothing is made up or left out."""

from __future__ import annotations

import pytest
from flights.geo import Point, great_circle_miles
from flights.outcomes import DistanceCheck, Outcome
from flights.rows import COLUMNS, check

# A quarter of the way around the equator is easy to work out by hand.
AIRPORTS = {"AAA": Point(0.0, 0.0), "BBB": Point(0.0, 90.0)}
QUARTER = 6_218.4  # 3,958.7613 miles * pi / 2


def fields(**changes: str) -> list[str]:
    row = {
        "year": "2013", "month": "1", "day": "30", "carrier": "OO", "flight": "8500", "tailnum": "N978SW",
        "origin": "AAA", "dest": "BBB", "sched_dep_time": "1115", "dep_delay": "67", "arr_delay": "107",
        "air_time": "732", "distance": "6218",
    }  # fmt: skip
    return [{**row, **changes}[name] for name in COLUMNS]


def test_a_quarter_of_the_equator_is_as_long_as_worked_out_by_hand():
    assert great_circle_miles(AIRPORTS["AAA"], AIRPORTS["BBB"]) == pytest.approx(QUARTER, abs=0.1)
    assert great_circle_miles(AIRPORTS["AAA"], AIRPORTS["AAA"]) == 0


def test_the_way_from_newark_to_houston_is_the_published_one():
    newark, houston = Point(40.6925, -74.168667), Point(29.984433, -95.341442)

    assert great_circle_miles(newark, houston) == pytest.approx(1_400, abs=5)


def test_a_flown_flight_keeps_all_its_figures():
    row = check(fields(), AIRPORTS)

    assert row.outcome is Outcome.FLOWN
    assert (row.day, row.hour, row.number, row.tailnum) == (30, 11, "8500", "N978SW")
    assert (row.dep_delay, row.arr_delay, row.made_up, row.air_time) == (67, 107, -40, 732)
    assert row.distance_check is DistanceCheck.AGREES
    assert row.great_circle == pytest.approx(QUARTER, abs=0.1)


def test_without_a_departure_the_flight_was_cancelled():
    row = check(fields(dep_delay="NA", arr_delay="NA", air_time="NA", tailnum="NA"), AIRPORTS)

    assert row.outcome is Outcome.CANCELLED
    assert (row.dep_delay, row.arr_delay, row.made_up, row.tailnum) == (None, None, None, "")


def test_a_flight_whose_arrival_is_not_reported_is_incomplete():
    row = check(fields(arr_delay="NA", air_time="NA"), AIRPORTS)

    assert row.outcome is Outcome.INCOMPLETE
    assert (row.dep_delay, row.made_up) == (67, None)


def test_a_distance_more_than_one_percent_off_differs():
    assert check(fields(distance="6157"), AIRPORTS).distance_check is DistanceCheck.AGREES
    assert check(fields(distance="6150"), AIRPORTS).distance_check is DistanceCheck.DIFFERS


def test_an_airport_without_coordinates_leaves_the_distance_unchecked():
    row = check(fields(dest="SJU"), AIRPORTS)

    assert row.outcome is Outcome.FLOWN
    assert (row.distance_check, row.great_circle) == (DistanceCheck.UNKNOWN, None)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"distance": "NA"}, "distance is no number: 'NA'"),
        ({"distance": "0"}, "distance is 0, not between 1 and 12500"),
        ({"sched_dep_time": "1160"}, "sched_dep_time is no time of day: '1160'"),
        ({"sched_dep_time": "2500"}, "sched_dep_time is 2500, not between 0 and 2400"),
        ({"day": "32"}, "day is 32, not between 1 and 31"),
        ({"dep_delay": "late"}, "dep_delay is no number: 'late'"),
        ({"dep_delay": "NA"}, "arrived without having departed"),
        ({"air_time": "NA"}, "arr_delay and air_time must be there together"),
        ({"air_time": "10"}, "6218 miles in 10 minutes"),
    ],
)
def test_a_row_that_makes_no_sense_says_what_is_wrong(changes, problem):
    row = check(fields(**changes), AIRPORTS)

    assert (row.outcome, row.problem) == (Outcome.INVALID, problem)


def test_a_row_with_fields_missing_says_so():
    assert check(["2013", "1"], AIRPORTS).problem == "2 fields instead of 13"


def test_a_megabyte_in_a_field_is_not_repeated():
    assert len(check(fields(distance="x" * 1_000_000), AIRPORTS).problem) <= 200
