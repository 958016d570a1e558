"""Grid search under a budget, in an order that is of use before it is finished."""

from __future__ import annotations

from typing import Any

import numpy as np
from nni.nas.strategy import GridSearch as NniGridSearch

from search_space.cost_table import CostTable
from strategies.budget.budget import Budget
from strategies.multi_trial.base import MultiTrial


class GridSearch(MultiTrial, NniGridSearch):
    """Asks for every architecture inside a `Budget` exactly once, and varies all labels evenly from the start.

    A subclass of ``nni.nas.strategy.GridSearch``, which counts through the space like an odometer and shuffles only
    100 in a row, so that a search that ends early has varied nothing but the last labels. Here each architecture is
    the one whose values were used least so far, found exactly: the values of a label come equally often (as far as the
    budget lets them).

    Parameters
    ----------
    budget, costs, seed
        What an architecture may cost, the cost of every candidate, and the seed of the ties.
    shuffle
        Break ties at random; otherwise the first candidates come first, and the seed has no effect. NNI's ``dedup`` is
        always on.
    """

    def __init__(
        self, *, budget: Budget | None = None, costs: CostTable | None = None, shuffle: bool = True, seed: int = 0
    ) -> None:
        super().__init__(shuffle=shuffle, seed=seed)
        self._set_up(budget, costs, seed)
        self._used: dict[str, Any] = {}

    def _propose(self) -> dict[str, Any] | None:
        table = self.feasible.table
        scores = {}
        for label, values in table.candidates.items():
            used = self._used.setdefault(label, np.zeros(len(values)))
            # together the tie-breaks of all labels stay below 1, a single use
            ties = self.rng.uniform(size=len(values)) if self.shuffle else np.linspace(1, 0, len(values))
            scores[label] = -used + 0.9 * ties / len(table.labels)
        sample = self.unasked.best(scores)
        if sample is not None:
            for label, value in sample.items():
                self._used[label][table.candidates[label].index(value)] += 1
        return sample
