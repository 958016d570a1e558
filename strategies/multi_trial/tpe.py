"""Tree-structured Parzen estimators over categorical labels, under a budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_space.base.checks import option
from strategies.multi_trial._proposer import Proposer, Sample
from strategies.options import MultiTrialOptions
from strategies.registry import register

FloatArray = NDArray[np.float64]

#: Draws from the estimator of good architectures per proposal wanted: those outside the budget are of no use.
_DRAWS = 8
#: Draws that are moved into the budget if not one is inside.
_REPAIRED = 4


@dataclass(frozen=True)
class TpeOptions(MultiTrialOptions):
    """Options of ``tpe``, those of NNI's tuner.

    NNI's ``constant_liar_type`` is for trials that run side by side, which sepnas does not have; the metric is always
    maximised.

    Attributes:
        n_startup_jobs: architectures drawn uniformly inside the budget before the estimators are used.
        n_ei_candidates: proposals, of which the one most likely to be good is scored.
        linear_forgetting: this many of the newest scores of a group count fully, older ones linearly less.
        prior_weight: weight of the uniform prior in each estimator, in trials.
        gamma: the best ceil(gamma * sqrt(number of scores)) are the good ones.
    """

    n_startup_jobs: int = option(20, least=1)
    n_ei_candidates: int = option(24, least=1)
    linear_forgetting: int = option(25, least=1)
    prior_weight: float = option(1.0, above=0)
    gamma: float = option(1.0, above=0)


class TpeProposer(Proposer[TpeOptions]):
    """TPE (Bergstra et al. 2011, section 4) for categorical labels inside the budget.

    With ``n`` scores, the best ``ceil(gamma * sqrt(n))`` are good. For each label, l(value) and g(value) are the shares
    of value among the good and the other architectures, each with a uniform prior of weight ``prior_weight``. Of
    proposals drawn from l inside the budget (or, where there are next to none, the nearest inside to some draws), the
    new one with the largest product of l / g over the labels is next. NNI's ``TPE`` minimises the metric unless told
    otherwise.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._chosen: list[NDArray[np.int64]] = []
        self._metrics: list[float] = []

    def observe(self, trial: int, sample: Sample, metric: float) -> None:
        self._chosen.append(self.feasible.table.indices(sample))
        self._metrics.append(metric if math.isfinite(metric) else -math.inf)  # a failure is among the others

    def propose(self) -> Sample | None:
        if sum(map(math.isfinite, self._metrics)) < self.options.n_startup_jobs:
            return self.remaining.random(self.rng)
        good, ratio = self._estimate()
        candidates = self.feasible.table.candidates

        def total(sample: Sample) -> float:
            return float(sum(ratio[label][candidates[label].index(value)] for label, value in sample.items()))

        ranked = sorted(self._proposals(good), key=total, reverse=True)
        new = next((sample for sample in ranked if sample in self.remaining), None)
        return self.remaining.best(ratio) if new is None else new

    def _estimate(self) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
        """{label: l(value)} and {label: log l(value) - log g(value)}."""
        count = len(self._metrics)
        best_first = np.argsort(-np.array(self._metrics), kind="stable")
        is_good = np.zeros(count, dtype=bool)
        good_count = min(math.ceil(self.options.gamma * math.sqrt(count)), self.options.linear_forgetting)
        is_good[best_first[:good_count]] = True
        chosen = np.stack(self._chosen)
        densities, ratio = {}, {}
        for column, (label, values) in enumerate(self.feasible.table.candidates.items()):
            good, other = (self._density(chosen[group, column], len(values)) for group in (is_good, ~is_good))
            densities[label] = good
            ratio[label] = np.log(good) - np.log(other)
        return densities, ratio

    def _density(self, chosen: NDArray[np.int64], size: int) -> FloatArray:
        """Shares of ``size`` values among ``chosen``, oldest first."""
        old = max(0, len(chosen) - self.options.linear_forgetting)
        weights = np.concatenate([np.linspace(1 / max(len(chosen), 1), 1, old), np.ones(len(chosen) - old)])
        counts = np.bincount(chosen, weights, size) + self.options.prior_weight
        return counts / counts.sum()

    def _proposals(self, good: dict[str, FloatArray]) -> list[Sample]:
        table = self.feasible.table
        draws = [self.rng.choice(len(p), _DRAWS * self.options.n_ei_candidates, p=p) for p in good.values()]
        proposals = np.stack(draws, axis=1)
        inside = proposals[self.feasible.budget.inside(table.evaluate(proposals))][: self.options.n_ei_candidates]
        if len(inside):
            return [table.sample(row) for row in inside]
        return [self.feasible.nearest(table.sample(row), self.rng) for row in proposals[:_REPAIRED]]


register(
    "tpe", "tree-structured Parzen estimators of what good and other architectures choose", TpeOptions, TpeProposer
)
