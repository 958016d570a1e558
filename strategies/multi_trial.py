"""Evolution under a budget: NNI's RegularizedEvolution whose individuals never leave it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from nni.nas.execution import ExecutionEngine
from nni.nas.execution.event import ModelEvent
from nni.nas.space import ExecutableModelSpace
from nni.nas.strategy import RegularizedEvolution as NniRegularizedEvolution

from search_space.cost_table import CostTable
from strategies.budget import Budget
from strategies.budgeted import Budgeted


class RegularizedEvolution(Budgeted, NniRegularizedEvolution):
    """Ageing evolution (Real et al. 2019) inside a `Budget`.

    A subclass of ``nni.nas.strategy.RegularizedEvolution`` with its parameters. The initial population is drawn
    inside the budget; a mutant or cross-over that falls outside is replaced by the nearest architecture inside (the
    fewest labels changed, ties at random), found exactly, so no loop can run dry. A budget that no architecture meets
    is refused before anything is trained. Individuals whose metric is not finite never become parents.
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
        self._set_budget(budget, costs)

    def _initialize(self, model_space: ExecutableModelSpace, engine: ExecutionEngine) -> ExecutableModelSpace:
        # executable spaces of NNI wrap the space that the user wrote
        inner = getattr(model_space, "model_space", model_space)
        self._meet_space(inner)
        return super()._initialize(model_space, engine)

    def random(self) -> ExecutableModelSpace:
        return self._submit(self.feasible.random(self._random_state))

    def new_individual(self) -> ExecutableModelSpace:
        child = dict(self.best_parent())
        if self.crossover:
            other = self.best_parent()
            child = {label: other[label] if self._random_state.uniform() < 0.5 else own for label, own in child.items()}
        for label, values in self.feasible.table.candidates.items():
            if self._random_state.uniform() < self.mutation_prob:
                child[label] = values[self._random_state.randint(len(values))]
        return self._submit(self.feasible.nearest(child, self._random_state))

    def _submit(self, sample: dict[str, str]) -> ExecutableModelSpace:
        if self._dedup_helper is not None:
            self._dedup_helper.dedup(sample)  # raises for a duplicate, and NNI draws again
        self._individual_counter += 1
        return self.model_space.freeze(sample)

    def best_parent(self) -> dict[str, Any]:
        """Winner of a tournament of ``sample_size`` random individuals."""
        alive = [individual for individual in self._population if math.isfinite(individual.y)]
        if not alive:
            return self.feasible.random(self._random_state)
        entrants = self._random_state.permutation(len(alive))[: self.sample_size]
        return dict(max((alive[i] for i in entrants), key=lambda individual: individual.y).x)

    def _training_end_callback(self, event: ModelEvent) -> None:
        metric = event.model.metric
        if metric is not None and not isinstance(metric, int | float | np.floating):
            raise TypeError(f"metric: {metric!r} is no number; report one with nni.report_final_result")
        super()._training_end_callback(event)
