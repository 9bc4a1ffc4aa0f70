"""An airline's figures, worked out by hand from seven flights."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flights.charts import delay_chart, headline, heat, heat_row
from flights.outcomes import DistanceCheck, Outcome
from flights.summary import Hour, Summary, percentile, summarise


def flight(**changes):
    usual = {
        "outcome": Outcome.FLOWN, "tailnum": "N1", "origin": "JFK", "dest": "LAX", "hour": 6, "dep_delay": 0,
        "arr_delay": 0, "made_up": 0, "distance": 2_475, "great_circle": 2_470.0,
        "distance_check": DistanceCheck.AGREES,
    }  # fmt: skip
    return SimpleNamespace(**{**usual, **changes})


@pytest.fixture
def summary() -> Summary:
    return summarise(
        [
            flight(dep_delay=-5, arr_delay=-15, made_up=10),
            flight(dep_delay=0, arr_delay=14, made_up=-14),
            flight(dep_delay=10, arr_delay=15, made_up=-5),
            flight(dep_delay=100, arr_delay=90, made_up=10, hour=18, dest="SJU", great_circle=None,
                   distance_check=DistanceCheck.UNKNOWN),
            flight(dep_delay=3, arr_delay=None, made_up=None, outcome=Outcome.INCOMPLETE),
            flight(dep_delay=None, arr_delay=None, made_up=None, tailnum="", outcome=Outcome.CANCELLED),
            flight(dep_delay=None, arr_delay=None, made_up=None, hour=None, distance=None, great_circle=None,
                   origin="", dest="", tailnum="", outcome=Outcome.INVALID,
                   distance_check=DistanceCheck.UNKNOWN),
        ]
    )  # fmt: skip


def test_every_flight_is_counted_once(summary):
    counts = (summary.flown, summary.incomplete, summary.cancelled, summary.invalid)

    assert counts == (4, 1, 1, 1)
    assert summary.flights == sum(counts) == 7
    assert summary.without_tailnum == 2


def test_late_begins_at_fifteen_minutes(summary):
    assert summary.late == 2
    assert summary.late_percent == 50


def test_sums_leave_out_what_is_not_known(summary):
    assert (summary.dep_total, summary.arr_total, summary.made_up_total) == (108, 104, 1)


def test_hours_hold_median_ninetieth_percentile_and_cancellations(summary):
    assert summary.hours == [
        Hour(hour=6, flights=5, departed=4, cancelled=1, median=0, p90=10),
        Hour(hour=18, flights=1, departed=1, cancelled=0, median=100, p90=100),
    ]


def test_routes_with_too_few_flights_are_left_out(summary):
    assert [(route.dest, route.flights, route.cancelled, route.p90) for route in summary.routes] == [
        ("LAX", 5, 1, 15)
    ]


def test_distances_name_the_airports_that_could_not_be_checked(summary):
    assert (summary.distances.agrees, summary.distances.unknown) == (5, 2)
    assert summary.distances.unknown_airports == ["SJU"]
    assert summary.distances.furthest_percent == 0.2


def test_nothing_at_all_gives_a_summary_too():
    empty = summarise([])

    assert (empty.flights, empty.dep_median, empty.hours, empty.late_percent) == (0, None, [], 0)
    assert headline(empty.hours) == "No flight departed."


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, None),
        ([7], 90, 7),
        ([1, 2], 50, 1),
        ([3, 1, 2], 50, 2),
        (range(1, 11), 90, 9),
        (range(1, 12), 90, 10),
    ],
)
def test_percentiles_are_values_that_occurred(values, percent, expected):
    assert percentile(values, percent) == expected


@pytest.mark.parametrize(
    ("minutes", "colour"), [(None, 0), (-3, 0), (4, 0), (5, 1), (59, 4), (60, 5), (90, 6)]
)
def test_a_delay_has_the_same_colour_everywhere(minutes, colour):
    assert heat(minutes) == colour


def test_the_chart_puts_later_hours_to_the_right_and_longer_delays_higher(summary):
    early, late = delay_chart(summary.hours).columns

    assert early.x < late.x
    assert early.bar_y > late.bar_y
    assert late.bar_height > early.bar_height
    assert early.cancelled_height > late.cancelled_height == 0
    assert (early.until, early.cancelled_percent) == (7, 20.0)


def test_an_hour_in_which_nothing_departed_has_no_bar():
    (column,) = delay_chart([Hour(9, flights=2, departed=0, cancelled=2, median=None, p90=None)]).columns

    assert (column.bar_height, column.median_y) == (0, None)
    assert column.cancelled_percent == 100


def test_hours_outside_the_usual_day_widen_the_chart():
    night = Hour(0, flights=1, departed=1, cancelled=0, median=1, p90=1)

    assert [label for _, label in delay_chart([night]).hour_labels] == [str(hour) for hour in range(24)]


def test_the_overview_has_a_cell_for_each_hour_with_departures(summary):
    row = heat_row(summary.hours)

    assert [(cell.hour, cell.p90) for cell in row if cell] == [(6, 10), (18, 100)]


def test_the_headline_names_the_worst_and_the_best_hour(summary):
    assert headline(summary.hours) == (
        "Of the flights due from 18:00, one in ten leaves 100 minutes late or worse; "
        "of those due from 6:00, 10 minutes late."
    )
    assert headline([Hour(11, 1, 1, 0, 67, 67)]) == "The one flight, due at 11:00, left 67 minutes late."
    assert headline([Hour(11, 9, 9, 0, -2, 1)]) == "All left at 11:00; one in ten was 1 minute late or worse."
