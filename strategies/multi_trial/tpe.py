"""Tree-structured Parzen estimators over categorical labels, under a budget."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from nni.nas.strategy.base import Strategy
from numpy.typing import NDArray

from search_space.cost_table import CostTable
from strategies.budget.budget import Budget
from strategies.multi_trial.base import MultiTrial

FloatArray = NDArray[np.float64]

#: Draws from the estimator of the good ones, a wanted proposal: those outside the budget are of no use.
_DRAWS = 8
#: Proposals moved into the budget if not one is inside.
_REPAIRED = 4


class TPE(MultiTrial, Strategy):
    """TPE (Bergstra et al. 2011, section 4) for categorical labels inside a `Budget`.

    Not a subclass of ``nni.nas.strategy.TPE``, of which nothing would be left: that wraps a tuner that knows no budget,
    *minimises* the metric unless told otherwise, sleeps a second a trial, weights old trials by rank instead of age,
    and stops working after a resume. The estimators and their parameters are the tuner's.

    With ``n`` scores, the best ``ceil(gamma * sqrt(n))`` are good. For each label, l(value) and g(value) are the shares
    of value among the good and the other architectures, each with a uniform prior of weight ``prior_weight``. Proposals
    are drawn from l inside the budget (where l has next to nothing inside, the nearest inside to some draws). The one
    with the largest product of l / g over the labels, among those not asked for before, is next.

    Parameters
    ----------
    budget, costs, seed
        What an architecture may cost, the cost of every candidate, and the seed of all draws.
    n_startup_jobs
        Architectures drawn uniformly inside the budget at first.
    n_ei_candidates
        Proposals compared for one architecture.
    linear_forgetting
        The newest so many scores of a group count fully, older ones linearly less.
    prior_weight
        Weight of the prior, in architectures.
    gamma
        Sets how many are good.
    """

    def __init__(
        self,
        *,
        budget: Budget | None = None,
        costs: CostTable | None = None,
        n_startup_jobs: int = 20,
        n_ei_candidates: int = 24,
        linear_forgetting: int = 25,
        prior_weight: float = 1.0,
        gamma: float = 0.25,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._set_up(budget, costs, seed)
        self.n_startup_jobs = n_startup_jobs
        self.n_ei_candidates = n_ei_candidates
        self.linear_forgetting = linear_forgetting
        self.prior_weight = prior_weight
        self.gamma = gamma
        self._chosen: list[NDArray[np.int64]] = []
        self._metrics: list[float] = []

    def _observe(self, trial: int, sample: dict[str, Any], metric: float) -> None:
        self._chosen.append(self.feasible.table.indices(sample))
        self._metrics.append(metric if math.isfinite(metric) else -math.inf)  # a failure is among the others

    def _propose(self) -> dict[str, Any] | None:
        if sum(map(math.isfinite, self._metrics)) < self.n_startup_jobs:
            return self.unasked.random(self.rng)
        good, ratio = self._estimate()
        ranked = sorted(self._proposals(good), key=lambda sample: -self._total(ratio, sample))
        for sample in ranked:
            if sample in self.unasked:
                return sample
        return self.unasked.best(ratio)

    def _estimate(self) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
        """{label: l(value)} and {label: log l(value) - log g(value)}."""
        count = len(self._metrics)
        best_first = np.argsort(-np.array(self._metrics), kind="stable")
        is_good = np.zeros(count, dtype=bool)
        is_good[best_first[: min(math.ceil(self.gamma * math.sqrt(count)), self.linear_forgetting)]] = True
        chosen = np.stack(self._chosen)
        densities, ratio = {}, {}
        for column, (label, values) in enumerate(self.feasible.table.candidates.items()):
            good, other = (self._density(chosen[group, column], len(values)) for group in (is_good, ~is_good))
            densities[label] = good
            ratio[label] = np.log(good) - np.log(other)
        return densities, ratio

    def _density(self, chosen: NDArray[np.int64], size: int) -> FloatArray:
        """Shares of ``size`` values among ``chosen``, oldest first."""
        old = max(0, len(chosen) - self.linear_forgetting)
        weights = np.concatenate([np.linspace(1 / max(len(chosen), 1), 1, old), np.ones(len(chosen) - old)])
        counts = np.bincount(chosen, weights, size) + self.prior_weight
        return counts / counts.sum()

    def _proposals(self, good: dict[str, FloatArray]) -> list[dict[str, Any]]:
        table = self.feasible.table
        draws = [self.rng.choice(len(p), _DRAWS * self.n_ei_candidates, p=p) for p in good.values()]
        proposals = np.stack(draws, axis=1)
        inside = proposals[self.feasible.budget.inside(table.evaluate(proposals))][: self.n_ei_candidates]
        if len(inside):
            return [table.sample(row) for row in inside]
        return [self.feasible.nearest(table.sample(row), self.rng) for row in proposals[:_REPAIRED]]

    def _total(self, ratio: dict[str, FloatArray], sample: dict[str, Any]) -> float:
        candidates = self.feasible.table.candidates
        return float(sum(ratio[label][candidates[label].index(value)] for label, value in sample.items()))
