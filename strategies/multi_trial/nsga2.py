"""Multi-objective evolution (NSGA-II) whose individuals never leave the budget."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from search_space.base.checks import option
from strategies.multi_trial._proposer import Proposer, Sample
from strategies.multi_trial.pareto import OBJECTIVES, check_objectives
from strategies.options import MultiTrialOptions
from strategies.registry import register

if TYPE_CHECKING:
    from strategies.multi_trial._mating import BudgetedNSGA2


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

    Ranks, crowding distances, tournaments and survival are pymoo's. The initial population is uniform inside the
    budget, and mutation and crossover (those of `FeasibleSet`) never leave it. No architecture is proposed twice: where
    mating finds nothing new, the nearest architecture that is new is taken, so a small space is searched to the end.
    What has no finite metric is dominated by everything: it does not enter the population.

    The next generation is bred once all of the last has been proposed; of trials that run side by side, those that end
    later join the survival after the next. The Pareto set is that of all that was scored
    (`strategies.multi_trial.pareto`); the population is only where new ones are bred.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        check_objectives(self.options.objectives, self.feasible.table.metrics, "strategy.options.objectives")
        self.algorithm: BudgetedNSGA2 | None = None  # from the end of the initial population on
        self._children: list[Sample] = []  # bred and not proposed yet
        # candidates and objectives of what was scored and is not in the population yet
        self._scored: list[tuple[NDArray[np.int64], list[float]]] = []
        self._initial = 0  # proposals of the initial population that have not failed

    def propose(self) -> Sample | None:
        if not self._children:
            initial = self._initial < self.options.population_size or not self._scored
            if self.algorithm is None and initial:
                sample = self.remaining.random(self.rng)
                self._initial += sample is not None
                return sample
            self._children = self.breed()
        return self._children.pop(0) if self._children else None

    def observe(self, trial: int, sample: Sample, metric: float) -> None:
        if not math.isfinite(metric):
            self._initial -= 1
            return
        table = self.feasible.table
        costs = table.cost(sample)
        objectives = [-metric, *(float(costs[name]) for name in self.options.objectives)]
        self._scored.append((table.indices(sample), objectives))

    def breed(self) -> list[Sample]:
        """Survival of what was scored since the last time, then a generation of children; empty if nothing is new."""
        if self.algorithm is None:
            from strategies.multi_trial._mating import BudgetedNSGA2

            self.algorithm = BudgetedNSGA2(
                self.remaining,
                self.rng,
                population_size=self.options.population_size,
                crossover_prob=self.options.crossover_prob,
                mutation_prob=self.options.mutation_prob,
                seed=self.seed,
            )
        if self._scored:
            chosen, objectives = zip(*self._scored, strict=True)
            self.algorithm.tell(np.stack(chosen), np.array(objectives))
            self._scored = []
        return [self.feasible.table.sample(row) for row in self.algorithm.ask()]


register(
    "nsga2",
    "multi-objective evolution (NSGA-II) over accuracy, MACs and params: a run gives the Pareto set",
    NSGA2Options,
    NSGA2Proposer,
)
