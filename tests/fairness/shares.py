"""How far the turns of two users drift apart, counted in the order in which they were served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from django_fairque.engine.task import Policy

CLOSE = 1e-6


class Drift:
    """The service of each pair of users, divided by their weights, while both stay servable."""

    def __init__(self, policies: Mapping[str, Policy]) -> None:
        self.policies = policies
        self._pairs = {pair: [0.0, 0.0, 0.0] for pair in combinations(policies, 2)}
        self.widest: dict[tuple[str, str], float] = dict.fromkeys(self._pairs, 0.0)
        """The widest movement of each pair, in turns of each (``1/w1 + 1/w2``)."""

    def served(self, user: str) -> None:
        """``user`` had a turn."""
        for pair, state in self._pairs.items():
            if user not in pair:
                continue
            one, other = (self.policies[name].weight for name in pair)
            state[0] += 1 / one if user == pair[0] else -1 / other
            state[1], state[2] = min(state[1], state[0]), max(state[2], state[0])
            turn = 1 / one + 1 / other
            self.widest[pair] = max(self.widest[pair], (state[2] - state[1]) / turn)

    def interrupted(self, user: str) -> None:
        """``user`` could not be served for a moment: its pairs begin anew."""
        for pair in self._pairs:
            if user in pair:
                self._pairs[pair] = [0.0, 0.0, 0.0]

    @property
    def most(self) -> float:
        """The widest of all."""
        return max(self.widest.values(), default=0.0)


def jain(values: Sequence[float]) -> float:
    """Jain's index: 1 when all have the same, 1/n when one has it all."""
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))
