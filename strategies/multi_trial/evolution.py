"""Evolution under a budget: NNI's RegularizedEvolution whose individuals never leave it."""

from __future__ import annotations

import math
from typing import Any

from nni.nas.strategy import RegularizedEvolution as NniRegularizedEvolution
from nni.nas.strategy.evolution import Individual

from search_space.cost_table import CostTable
from strategies.budget.budget import Budget
from strategies.multi_trial.base import MultiTrial

#: Mutants of one tournament before the nearest architecture that is new is taken.
_MUTANTS = 20


class RegularizedEvolution(MultiTrial, NniRegularizedEvolution):
    """Ageing evolution (Real et al. 2019, algorithm 1) inside a `Budget`.

    A subclass of ``nni.nas.strategy.RegularizedEvolution`` with its parameters. NNI's gives up after 500 duplicates
    (57 of 64 architectures found, say), lets a metric that is not a number win tournaments, counts changes of unused
    labels as new architectures and knows no budget. Here the initial population is uniform inside the budget, and
    mutation and crossover never leave it; a child that was asked for before is drawn anew, at last replaced by the
    nearest architecture that is new, so a small space is searched to the end. Individuals without a finite metric do
    not enter the population.

    Parameters
    ----------
    budget, costs, seed
        What an architecture may cost, the cost of every candidate, and the seed of all draws.
    population_size
        Individuals kept; as many are drawn at random at first, then the oldest goes when a new one comes.
    sample_size
        Individuals in a tournament, whose best becomes a parent.
    mutation_prob
        Probability that a label's value is drawn anew.
    crossover
        Whether the winners of two tournaments are mixed before the mutation.
    dedup
        Whether no architecture is asked for twice.
    """

    def __init__(
        self,
        *,
        budget: Budget | None = None,
        costs: CostTable | None = None,
        population_size: int = 20,
        sample_size: int = 5,
        mutation_prob: float = 0.1,
        crossover: bool = False,
        dedup: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(
            population_size=population_size,
            sample_size=sample_size,
            mutation_prob=mutation_prob,
            crossover=crossover,
            dedup=dedup,
            seed=seed,
        )
        self._set_up(budget, costs, seed)
        self.dedup = dedup

    def _propose(self) -> dict[str, Any] | None:
        if not self._population or len(self._population) + len(self._running) < self.population_size:
            return self.unasked.random(self.rng) if self.dedup else self.feasible.random(self.rng)
        child = self._child()
        if not self.dedup or child in self.unasked:
            return child
        for _ in range(_MUTANTS - 1):
            child = self._child()
            if child in self.unasked:
                return child
        return self.unasked.nearest(child, self.rng)

    def _observe(self, trial: int, sample: dict[str, Any], metric: float) -> None:
        if math.isfinite(metric):
            self._population.append(Individual(sample, metric))
            if len(self._population) > self.population_size:
                self._population.popleft()

    def _child(self) -> dict[str, Any]:
        parent = self.best_parent()
        if self.crossover:
            parent = self.feasible.crossover(parent, self.best_parent(), self.rng)
        return self.feasible.mutate(parent, self.rng, self.mutation_prob)

    def best_parent(self) -> dict[str, Any]:
        """Winner of a tournament of ``sample_size`` random individuals."""
        entrants = self.rng.permutation(len(self._population))[: self.sample_size]
        return dict(max((self._population[i] for i in entrants), key=lambda individual: individual.y).x)
