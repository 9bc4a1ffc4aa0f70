"""How soon a worker process that ended is followed by another."""

from __future__ import annotations

from django_fairque.engine.work.child import DONE, OWING, WORN
from django_fairque.engine.work.link import Link
from django_fairque.engine.work.seat import Seat

CRASH = -9


class Clock:
    """A clock that the test moves."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def live(
    seat: Seat, clock: Clock, seconds: float, code: int, *, burst: bool = False, serves: bool = False
) -> float:
    """Let a process live for some time and end: how long the seat stays empty then."""
    clock.now = max(clock.now, seat.start_at)
    ours, theirs = Link.pair()
    seat.taken(4_711, ours)
    clock.now += seconds
    if serves:
        theirs.send("joined", 0, "one-abc")
    theirs.close()
    seat.left()
    seat.judge(code, burst=burst)
    return max(0.0, seat.start_at - clock.now)


def test_the_first_crash_is_mended_at_once_and_the_next_ones_slower_and_slower() -> None:
    clock = Clock()
    seat = Seat(1, clock=clock)

    delays = [live(seat, clock, 1, CRASH) for _ in range(10)]

    assert delays == [0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_process_that_died_serving_is_followed_within_a_second() -> None:
    clock = Clock()
    seat = Seat(1, clock=clock)

    delays = [live(seat, clock, 1, CRASH, serves=True) for _ in range(5)]

    assert delays == [0, 0.5, 1, 1, 1]


def test_a_healthy_minute_makes_up_for_crashes() -> None:
    clock = Clock()
    seat = Seat(1, clock=clock)
    for _ in range(5):
        live(seat, clock, 1, CRASH)

    assert live(seat, clock, 60, CRASH) == 0
    assert live(seat, clock, 1, CRASH) == 0.5


def test_a_process_that_ran_its_share_is_followed_at_once_in_a_burst_too() -> None:
    clock = Clock()
    seat = Seat(1, clock=clock)

    assert live(seat, clock, 1, WORN, burst=True) == 0
    assert not seat.is_done


def test_a_burst_is_over_for_a_process_that_found_nothing() -> None:
    clock = Clock()
    seat = Seat(1, clock=clock)

    live(seat, clock, 1, DONE, burst=True)

    assert seat.is_done


def test_the_last_words_of_a_process_are_heard() -> None:
    ours, theirs = Link.pair()
    seat = Seat(1)
    seat.taken(4_711, ours)
    theirs.send("joined", 0, "one-abc")
    theirs.send("joined", 3, "one-def")
    theirs.close()

    assert seat.left() == {0: "one-abc", 3: "one-def"}


def test_a_process_that_could_not_say_goodbye_is_no_crash_and_no_end_of_a_burst() -> None:
    seat = Seat(1)

    assert seat.judge(OWING, burst=True)
    assert not seat.is_done
