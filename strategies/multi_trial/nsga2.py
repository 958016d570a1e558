"""Multi-objective evolution (NSGA-II) whose individuals never leave the budget."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from search_space.base.checks import option
from strategies.multi_trial._proposer import Proposer, Sample
from strategies.multi_trial.pareto import OBJECTIVES, check_objectives, survivors
from strategies.options import MultiTrialOptions
from strategies.registry import register


@dataclass(frozen=True)
class NSGA2Options(MultiTrialOptions):
    """Options of ``nsga2``.

    Attributes:
        population_size: individuals kept, and children in a generation; as many are drawn at random at first.
        crossover_prob: probability that a child mixes two parents before its mutation; else it is a mutant of one.
        mutation_prob: probability that a block's candidate is drawn anew; one is, at least.
        objectives: costs to minimise beside maximising the accuracy.
    """

    population_size: int = option(20, least=1)
    crossover_prob: float = option(0.9, least=0, most=1)
    mutation_prob: float = option(0.1, above=0, most=1)
    objectives: tuple[str, ...] = OBJECTIVES

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "objectives", tuple(self.objectives))
        check_objectives(self.objectives, None, "strategy.options.objectives")

    @property
    def objectives_beside_accuracy(self) -> tuple[str, ...]:
        """Costs that the strategy minimises while it maximises the accuracy."""
        return self.objectives

    def check_names(self, costs: Collection[str], metrics: Collection[str]) -> None:
        """InvalidRequest for an objective that is not a cost."""
        check_objectives(self.objectives, costs, "strategy.options.objectives")

    def for_trials(self) -> Self:
        """With a population of at most ``trials``: a larger one would never evolve."""
        return replace(self, population_size=min(self.population_size, self.trials))


class NSGA2Proposer(Proposer[NSGA2Options]):
    """NSGA-II (Deb et al. 2002) inside the budget: the metric is maximised and each of some costs minimised.

    The initial population is uniform, and mutation and crossover never leave the budget. No architecture is proposed
    twice, and what has no finite metric does not enter the population. A new population survives once a whole
    generation has been proposed; trials that end later join the survival after the next. The Pareto set is that of all
    that was scored (`strategies.multi_trial.pareto`).
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        check_objectives(self.options.objectives, self.feasible.table.metrics, "strategy.options.objectives")
        #: individuals and their objectives, in the order of `survivors`; empty while the initial ones are drawn
        self.population: list[tuple[Sample, list[float]]] = []
        self._scored: list[tuple[Sample, list[float]]] = []  # since the last survival
        self._initial = 0  # proposals of the initial population that have not failed
        self._children = 0  # that this generation may still have

    def propose(self) -> Sample | None:
        if not self.population and (self._initial < self.options.population_size or not self._scored):
            sample = self.remaining.random(self.rng)
            self._initial += sample is not None
            return sample
        if self._children == 0:
            self.survive()
        self._children -= 1
        return self.first_new(self._child)

    def observe(self, trial: int, sample: Sample, metric: float) -> None:
        if not math.isfinite(metric):
            self._initial -= 1
            return
        costs = self.feasible.table.cost(sample)
        self._scored.append((sample, [-metric, *(float(costs[name]) for name in self.options.objectives)]))

    def survive(self) -> None:
        """Begin a generation: the best of the population and of what was scored since breed it."""
        everyone = [*self.population, *self._scored]
        rows = survivors(np.array([values for _, values in everyone]), self.options.population_size)
        self.population = [everyone[row] for row in rows]
        self._scored, self._children = [], self.options.population_size

    def _child(self) -> Sample:
        parent = self._parent()
        if self.rng.random_sample() < self.options.crossover_prob:
            parent = self.feasible.crossover(parent, self._parent(), self.rng)
        return self.feasible.mutate(parent, self.rng, self.options.mutation_prob)

    def _parent(self) -> Sample:
        """The winner of a tournament of two: the better front, and in one front the less crowded."""
        return self.population[self.rng.randint(len(self.population), size=2).min()][0]


register(
    "nsga2",
    "multi-objective evolution (NSGA-II) over accuracy, MACs and params: a run gives the Pareto set",
    NSGA2Options,
    NSGA2Proposer,
)
