"""Boxes: bounds on several additive costs at once, brought to their smallest equal form before anything is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Box:
    """The choices (one candidate for each label) whose costs add up to something from ``low`` to ``high``.

    ``costs[i]``, shape (candidates, metrics), are the whole numbers that the candidates ``kept[i]`` of label i add; the
    smallest of each label is 0, and the numbers of a metric have no common divisor.
    """

    costs: list[IntArray]
    kept: list[IntArray]
    low: IntArray
    high: IntArray

    def holds(self, choices: IntArray) -> NDArray[np.bool_]:
        """Whether each of ``choices`` (n, labels), positions in ``kept``, is inside: (n,)."""
        totals = np.zeros((len(choices), len(self.low)), dtype=np.int64)
        for column, costs in enumerate(self.costs):
            totals += costs[choices[:, column]]
        return np.all((totals >= self.low) & (totals <= self.high), axis=1)

    def reordered(self, order: IntArray) -> Box:
        """The same with its labels in another order."""
        return Box([self.costs[i] for i in order], [self.kept[i] for i in order], self.low, self.high)


def combinations(sizes: Sequence[int]) -> IntArray:
    """All choices of labels with ``sizes`` candidates: (product of the sizes, labels)."""
    return np.stack(np.unravel_index(np.arange(int(np.prod(sizes))), sizes), axis=1).astype(np.int64)


def reduce_box(costs: Sequence[IntArray], low: IntArray, high: IntArray) -> Box | None:
    """The box of ``costs[i]`` (candidates, metrics) between ``low`` and ``high`` without candidates that no choice
    inside can take and, but for one, metrics whose bounds exclude nothing. None if nothing can be inside; a box may be
    empty too."""
    costs = [np.array(own, dtype=np.int64) for own in costs]
    kept = [np.arange(len(own)) for own in costs]
    low, high = low.copy(), high.copy()
    while True:
        for own in costs:  # every choice pays the least cost of each label
            least = own.min(axis=0)
            own -= least
            low -= least
            high -= least
        most = np.stack([own.max(axis=0) for own in costs])
        low, high = np.maximum(low, 0), np.minimum(high, most.sum(axis=0))
        if (low > high).any():
            return None
        dropped = False
        for i, own in enumerate(costs):
            possible = ((own <= high) & (own + (most.sum(axis=0) - most[i]) >= low)).all(axis=1)
            if not possible.any():
                return None
            if not possible.all():
                costs[i], kept[i] = own[possible], kept[i][possible]
                dropped = True
        if not dropped:
            break
    binding = np.flatnonzero((low > 0) | (high < most.sum(axis=0)))
    if not len(binding):
        return Box([np.zeros((len(own), 1), dtype=np.int64) for own in costs], kept, np.zeros(1, int), np.zeros(1, int))
    costs = [own[:, binding] for own in costs]
    low, high = low[binding], high[binding]
    divisor = np.maximum(np.gcd.reduce(np.concatenate(costs), axis=0), 1)
    return Box([own // divisor for own in costs], kept, -(-low // divisor), high // divisor)
