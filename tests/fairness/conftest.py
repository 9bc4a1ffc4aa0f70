"""Worlds for the fairness tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import Phase, settings

from django_fairque.engine.keys import Keys
from tests.conftest import Run
from tests.server import Server

from .world import World

# For the mutants: that a test fails is enough, the smallest example is not needed.
settings.register_profile(
    "first-failure", settings.get_profile("everyday"), phases=(Phase.explicit, Phase.generate)
)

_serial = itertools.count(1)

MakeWorld = Callable[..., World]


@pytest.fixture
def world(run: Run, server: Server) -> MakeWorld:
    """``world()`` is a new, empty queue: each example of a property gets its own."""

    def make(**about: object) -> World:
        return World(run, Keys(prefix=f"{server.prefix}f{next(_serial)}"), **about)  # type: ignore[arg-type]

    return make
