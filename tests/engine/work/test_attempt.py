"""What is said of an exception, whatever it is like."""

from __future__ import annotations

import pytest

from django_fairque.engine.work.attempt import describe


class Mute(Exception):
    """Cannot be printed."""

    def __str__(self) -> str:
        raise SystemExit


class Renamed(type):
    """Gives its classes a name that cannot be encoded."""

    __name__ = property(lambda self: "Odd\ud800")


class Odd(Exception, metaclass=Renamed):
    """See ``Renamed``."""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no"), "ValueError: no"),
        (ValueError(), "ValueError"),
        (ValueError("x \ud800"), "ValueError: x \\ud800"),
        (Mute(), "Mute: (no text)"),
        (Odd("x"), "Odd\\ud800: x"),
    ],
)
def test_an_error_is_described_in_words_that_can_be_sent(error: Exception, text: str) -> None:
    assert describe(error) == text
