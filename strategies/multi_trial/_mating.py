"""NSGA-II by pymoo whose individuals never leave a budget. Apart from `nsga2`, as pymoo takes a while to import."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2, binary_tournament
from pymoo.config import Config
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.evaluator import Evaluator
from pymoo.core.mating import Mating
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination
from pymoo.operators.selection.tournament import TournamentSelection
from pymoo.problems.static import StaticProblem

from strategies.budget.feasible import FeasibleSet
from strategies.budget.remaining import Remaining

#: Rounds of mating without anything new before the nearest architecture that is new is taken.
_ROUNDS = 20

# pymoo prints an advertisement where its compiled parts are missing; what is used here has none
Config.warnings["not_compiled"] = False


class BudgetedNSGA2:
    """pymoo's NSGA-II on candidate indices (labels,), its mutation and crossover those of `FeasibleSet`."""

    def __init__(
        self,
        remaining: Remaining,
        rng: np.random.RandomState,
        *,
        population_size: int,
        crossover_prob: float,
        mutation_prob: float,
        seed: int,
    ) -> None:
        self._population_size = population_size
        self._seed = seed
        feasible = remaining.feasible
        self._mating = _NewMating(
            remaining,
            rng,
            TournamentSelection(func_comp=binary_tournament),
            _InsideCrossover(feasible, rng, crossover_prob),
            _InsideMutation(feasible, rng, mutation_prob),
            eliminate_duplicates=_ProposedBefore(remaining),
            n_max_iterations=_ROUNDS,
        )
        self._algorithm: Any = None  # pymoo's, from the first scores on

    @property
    def population(self) -> Population:
        """The individuals kept, once `tell` was called."""
        return self._algorithm.pop

    def tell(self, chosen: NDArray[np.int64], objectives: NDArray[np.float64]) -> None:
        """Survival of the population and of new individuals: ``chosen`` (n, labels), ``objectives`` (n, objectives)."""
        infills = Population.new("X", chosen)
        problem = Problem(n_var=chosen.shape[1], n_obj=objectives.shape[1])
        Evaluator().eval(StaticProblem(problem, F=objectives), infills)
        if self._algorithm is None:
            algorithm = NSGA2(
                pop_size=self._population_size,
                sampling=infills,
                mating=self._mating,
                eliminate_duplicates=False,
                output=None,
            )
            # pymoo draws from a generator of its own, made from this seed
            self._algorithm = algorithm.setup(problem, seed=self._seed, termination=NoTermination())
            infills = self._algorithm.ask()
        self._algorithm.tell(infills=infills)

    def ask(self) -> NDArray[np.int64]:
        """A generation of children (n, labels), none of them proposed before; empty if nothing is left."""
        children = self._algorithm.ask()
        return np.empty((0, 0), dtype=np.int64) if children is None else children.get("X")


class _InsideCrossover(Crossover):
    """One child of two parents: `FeasibleSet.crossover`."""

    def __init__(self, feasible: FeasibleSet, rng: np.random.RandomState, probability: float) -> None:
        super().__init__(n_parents=2, n_offsprings=1, prob=probability)
        self.feasible = feasible
        self.rng = rng

    def _do(self, problem: Problem, X: NDArray[np.int64], *_: Any, **__: Any) -> NDArray[np.int64]:
        """(2, matings, labels) -> (1, matings, labels)."""
        table = self.feasible.table
        pairs = zip(*X, strict=True)
        children = [self.feasible.crossover(table.sample(a), table.sample(b), self.rng) for a, b in pairs]
        return np.stack([table.indices(child) for child in children])[None]


class _InsideMutation(Mutation):
    """`FeasibleSet.mutate` of every child."""

    def __init__(self, feasible: FeasibleSet, rng: np.random.RandomState, probability: float) -> None:
        super().__init__(prob=1.0)
        self.feasible = feasible
        self.rng = rng
        self.probability = probability

    def _do(self, problem: Problem, X: NDArray[np.int64], *_: Any, **__: Any) -> NDArray[np.int64]:
        """(children, labels) -> the same."""
        table = self.feasible.table
        mutants = [self.feasible.mutate(table.sample(row), self.rng, self.probability) for row in X]
        return np.stack([table.indices(mutant) for mutant in mutants])


class _ProposedBefore(DuplicateElimination):
    """Duplicates are what was proposed before, in whatever generation, and equal children."""

    def __init__(self, remaining: Remaining) -> None:
        super().__init__()
        self.remaining = remaining

    def _do(self, pop: Population, other: Population | None, is_duplicate: NDArray[np.bool_]) -> NDArray[np.bool_]:
        table, key = self.remaining.feasible.table, self.remaining.key
        seen = set() if other is None else {key(table.sample(row)) for row in other.get("X")}
        for index, row in enumerate(pop.get("X")):
            sample = table.sample(row)
            identity = key(sample)
            is_duplicate[index] = identity in seen or sample not in self.remaining
            if other is None:
                seen.add(identity)
        return is_duplicate


class _NewMating(Mating):
    """pymoo's mating; where it finds nothing new, the architecture that is new and nearest to a child."""

    def __init__(self, remaining: Remaining, rng: np.random.RandomState, *operators: Any, **options: Any) -> None:
        super().__init__(*operators, **options)
        self.remaining = remaining
        self.rng = rng

    def do(self, problem: Problem, pop: Population, n_offsprings: int, **options: Any) -> Population:
        """At most ``n_offsprings`` children, one at least if anything inside the budget is left."""
        children = super().do(problem, pop, n_offsprings, **options)
        if len(children) == 0:
            table = self.remaining.feasible.table
            known = self._do(problem, pop, 1, **options).get("X")[0]
            nearest = self.remaining.nearest(table.sample(known), self.rng)
            if nearest is not None:
                children = Population.new("X", table.indices(nearest)[None])
        return children
