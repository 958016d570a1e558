"""Multi-objective evolution under a budget: pymoo's NSGA-II whose individuals never leave it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from nni.nas.strategy.base import Strategy
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2 as PymooNSGA2
from pymoo.algorithms.moo.nsga2 import binary_tournament
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

from search_space.cost_table import CostTable
from strategies.budget.budget import Budget
from strategies.budget.feasible import FeasibleSet
from strategies.multi_trial.base import MultiTrial
from strategies.multi_trial.pareto import OBJECTIVES, check_objectives
from strategies.multi_trial.remaining import Unasked

#: Rounds of mating without anything new before the nearest architecture that is new is taken.
_ROUNDS = 20

# pymoo prints an advertisement where its compiled parts are missing; what is used here has none
Config.warnings["not_compiled"] = False


class NSGA2(MultiTrial, Strategy):
    """NSGA-II (Deb et al. 2002) inside a `Budget`: the metric is maximised and each of some costs minimised.

    Ranks, crowding distances, tournaments and survival are pymoo's. The initial population is uniform inside the
    budget, and mutation and crossover (those of `FeasibleSet`) never leave it. No architecture is asked for twice:
    where mating finds nothing new, the nearest architecture that is new is taken, so a small space is searched to the
    end. What has no finite metric is dominated by everything: it does not enter the population.

    The next generation is bred once all of the last has been asked for; of trials that run side by side, those that end
    later join the survival after the next. The Pareto set is that of all that was scored
    (`strategies.multi_trial.pareto`); the population is only where new ones are bred.

    Parameters
    ----------
    budget, costs, seed
        What an architecture may cost, the cost of every candidate, and the seed of all draws.
    population_size
        Individuals kept, and children in a generation; as many are drawn at random at first.
    crossover_prob
        Probability that a child mixes two parents before its mutation; else it is a mutant of one.
    mutation_prob
        Probability that a label's value is drawn anew; one is, at least.
    objectives
        Names of the costs to minimise beside maximising the metric.
    """

    def __init__(
        self,
        *,
        budget: Budget | None = None,
        costs: CostTable | None = None,
        population_size: int = 20,
        crossover_prob: float = 0.9,
        mutation_prob: float = 0.1,
        objectives: Sequence[str] = OBJECTIVES,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._set_up(budget, costs, seed)
        self.population_size = population_size
        self.crossover_prob = crossover_prob
        self.mutation_prob = mutation_prob
        self.objectives = tuple(objectives)
        self.seed = seed
        self._algorithm: PymooNSGA2 | None = None  # from the end of the initial population on
        self._children: list[dict[str, Any]] = []  # bred and not asked for yet
        self._told: list[tuple[NDArray[np.int64], list[float]]] = []  # candidates and objectives; not in the population
        self._failed = 0

    def _meet_space(self, space: Any) -> None:
        super()._meet_space(space)
        check_objectives(self.objectives, self.feasible.table.metrics)

    def _propose(self) -> dict[str, Any] | None:
        if not self._children:
            initial = len(self._asked) - self._failed < self.population_size or not self._told
            if self._algorithm is None and initial:
                return self.unasked.random(self.rng)
            self._children = self._breed()
        return self._children.pop(0) if self._children else None

    def _observe(self, trial: int, sample: dict[str, Any], metric: float) -> None:
        if not math.isfinite(metric):
            self._failed += 1
            return
        table = self.feasible.table
        own = table.cost(sample)
        self._told.append((table.indices(sample), [-metric, *(float(own[name]) for name in self.objectives)]))

    def _breed(self) -> list[dict[str, Any]]:
        """Survival of what has been told since the last time, then a generation of children; none if nothing is new."""
        if self._told:
            population = Population.new("X", np.stack([chosen for chosen, _ in self._told]))
            values = np.array([objectives for _, objectives in self._told])
            problem = Problem(n_var=population.get("X").shape[1], n_obj=values.shape[1])
            Evaluator().eval(StaticProblem(problem, F=values), population)
            if self._algorithm is None:
                self._algorithm = self._start(problem, population)
                population = self._algorithm.ask()
            self._algorithm.tell(infills=population)
            self._told = []
        if self._algorithm is None:
            raise RuntimeError("nothing to breed from has been told")
        children = self._algorithm.ask()
        return [] if children is None else [self.feasible.table.sample(row) for row in children.get("X")]

    def _start(self, problem: Problem, population: Population) -> PymooNSGA2:
        """pymoo's algorithm on an initial population that is scored."""
        mating = _NewMating(
            self.unasked,
            self.rng,
            TournamentSelection(func_comp=binary_tournament),
            _InsideCrossover(self.feasible, self.rng, self.crossover_prob),
            _InsideMutation(self.feasible, self.rng, self.mutation_prob),
            eliminate_duplicates=_AskedBefore(self.unasked),
            n_max_iterations=_ROUNDS,
        )
        algorithm = PymooNSGA2(
            pop_size=self.population_size, sampling=population, mating=mating, eliminate_duplicates=False, output=None
        )
        # pymoo draws from a generator of its own, made from this seed
        return algorithm.setup(problem, seed=self.seed, termination=NoTermination())


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


class _AskedBefore(DuplicateElimination):
    """Duplicates are what was asked for before, in whatever generation, and equal children."""

    def __init__(self, unasked: Unasked) -> None:
        super().__init__()
        self.unasked = unasked

    def _do(self, pop: Population, other: Population | None, is_duplicate: NDArray[np.bool_]) -> NDArray[np.bool_]:
        table, key = self.unasked.feasible.table, self.unasked.key
        met = set() if other is None else {key(table.sample(row)) for row in other.get("X")}
        for index, row in enumerate(pop.get("X")):
            sample = table.sample(row)
            own = key(sample)
            is_duplicate[index] = own in met or sample not in self.unasked
            if other is None:
                met.add(own)
        return is_duplicate


class _NewMating(Mating):
    """pymoo's mating; where it finds nothing new, the architecture that is new and nearest to a child."""

    def __init__(self, unasked: Unasked, rng: np.random.RandomState, *operators: Any, **options: Any) -> None:
        super().__init__(*operators, **options)
        self.unasked = unasked
        self.rng = rng

    def do(self, problem: Problem, pop: Population, n_offsprings: int, **options: Any) -> Population:
        """At most ``n_offsprings`` children, one at least if anything inside the budget is left."""
        children = super().do(problem, pop, n_offsprings, **options)
        if len(children) == 0:
            table = self.unasked.feasible.table
            known = self._do(problem, pop, 1, **options).get("X")[0]
            nearest = self.unasked.nearest(table.sample(known), self.rng)
            if nearest is not None:
                children = Population.new("X", table.indices(nearest)[None])
        return children
