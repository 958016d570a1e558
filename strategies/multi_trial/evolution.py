"""Regularized evolution whose individuals never leave the budget."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Self

from search_space.base.checks import option, require
from strategies.multi_trial._proposer import Proposer, Sample
from strategies.options import MultiTrialOptions
from strategies.registry import register


@dataclass(frozen=True)
class EvolutionOptions(MultiTrialOptions):
    """Options of ``evolution``.

    Attributes:
        population_size: individuals kept; the oldest goes when a new one comes.
        sample_size: individuals in a tournament, whose best becomes a parent; null for the whole population.
        mutation_prob: probability that a block's candidate is drawn anew.
        crossover: mix the winners of two tournaments before mutating.
        dedup: never score an architecture twice.
    """

    population_size: int = option(10, least=1)
    sample_size: int | None = option(None, least=1)
    mutation_prob: float = option(0.1, above=0, most=1)
    crossover: bool = False
    dedup: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        why = f"must be at most population_size ({self.population_size})"
        fits = self.sample_size is None or self.sample_size <= self.population_size
        require(fits, "strategy.options.sample_size", self.sample_size, why)

    def for_trials(self) -> Self:
        """With a population of at most ``trials``: a larger one would never evolve."""
        sample_size = None if self.sample_size is None else min(self.sample_size, self.trials)
        return replace(self, population_size=min(self.population_size, self.trials), sample_size=sample_size)


class EvolutionProposer(Proposer[EvolutionOptions]):
    """Ageing evolution (Real et al. 2019, algorithm 1) inside the budget.

    The initial population is uniform, and mutation and crossover never leave the budget. Unlike NNI's
    ``RegularizedEvolution`` it searches a small space to the end, and individuals without a finite metric do not enter
    the population.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.population: deque[tuple[Sample, float]] = deque(maxlen=self.options.population_size)
        self._pending = 0  # proposed and not observed yet

    def propose(self) -> Sample | None:
        sample = self._next()
        self._pending += sample is not None
        return sample

    def observe(self, trial: int, sample: Sample, metric: float) -> None:
        self._pending -= 1
        if math.isfinite(metric):
            self.population.append((sample, metric))

    def _next(self) -> Sample | None:
        if not self.population or len(self.population) + self._pending < self.options.population_size:
            return self.remaining.random(self.rng) if self.options.dedup else self.feasible.random(self.rng)
        return self.first_new(self._child) if self.options.dedup else self._child()

    def _child(self) -> Sample:
        parent = self._parent()
        if self.options.crossover:
            parent = self.feasible.crossover(parent, self._parent(), self.rng)
        return self.feasible.mutate(parent, self.rng, self.options.mutation_prob)

    def _parent(self) -> Sample:
        """The winner of a tournament of ``sample_size`` random individuals, or of all."""
        entrants = self.rng.permutation(len(self.population))[: self.options.sample_size]
        sample, _ = max((self.population[i] for i in entrants), key=lambda individual: individual[1])
        return dict(sample)


register(
    "evolution",
    "regularized evolution; scores by inherited supernet weights or by a short training",
    EvolutionOptions,
    EvolutionProposer,
)
