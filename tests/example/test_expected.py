"""The figures the demo is held against are those of the data set."""

from __future__ import annotations

import pytest
from flights.demo import expected
from flights.reference import airlines, airports, months


@pytest.fixture(scope="module")
def figures():
    return expected.count()


def test_the_month_has_the_published_number_of_flights(figures):
    assert sum(sums.rows for sums in figures.values()) == 27_004
    assert {airline: figures[airline].rows for airline in ("UA", "B6", "HA", "OO")} == {
        "UA": 4_637, "B6": 4_427, "HA": 31, "OO": 1,
    }  # fmt: skip


def test_missing_values_are_counted_as_what_they_are(figures):
    def total(name: str) -> int:
        return sum(getattr(sums, name) for sums in figures.values())

    assert (total("cancelled"), total("incomplete")) == (521, 85)
    assert (total("without_tailnum"), total("without_coordinates")) == (155, 680)


def test_the_single_flight_of_skywest_is_as_its_row_says(figures):
    lone = figures["OO"]

    assert (lone.dep_delay, lone.arr_delay, lone.distance, lone.late) == (67, 107, 733, 1)
    assert lone.hours == {11: (1, 0, 67, 67)}
    assert lone.great_circle == pytest.approx(731.4, abs=0.1)


def test_a_limit_takes_the_first_rows_of_each_airline():
    assert {airline: sums.rows for airline, sums in expected.count(3).items()} == {
        airline: min(3, len(rows)) for airline, rows in months().items()
    }


def test_the_tasks_read_the_same_files():
    assert next(iter(months())) == "UA"
    assert set(months()) == set(airlines())
    assert {"EWR", "JFK", "LGA"} <= set(airports())
    assert not {"BQN", "PSE", "SJU", "STT"} & set(airports())
