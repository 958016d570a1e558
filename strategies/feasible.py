"""Exact answers about a space under a budget: does it hold any architecture, which is best, which is nearest.

All of it is one small integer program: one binary variable per candidate, one candidate per label, one linear row per
bounded cost. HiGHS (through SciPy) solves it exactly; every solution is then checked in integer arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from search_space.cost_table import CostTable
from search_space.errors import InvalidRequest
from strategies.budget import Budget, format_count

#: Uniform proposals of one draw; they cost less together than one integer program.
_PROPOSALS = 512

Scores = Mapping[str, NDArray[np.floating]]


class FeasibleSet:
    """The architectures of ``table`` inside ``budget``.

    Raises InvalidRequest at once if there are none, with the reachable range of each cost in the message.
    """

    def __init__(self, table: CostTable, budget: Budget) -> None:
        self.table = table
        self.budget = budget
        sizes = [len(values) for values in table.candidates.values()]
        self._offsets = np.concatenate([[0], np.cumsum(sizes)])
        self._constraints = [self._one_per_label()]
        self._check_ranges()
        for metric, (low, high) in budget.bounds().items():
            self._constraints.append(self._cost_row(metric, low, high))
        if self._solve(np.zeros(self._offsets[-1])) is None:
            raise InvalidRequest(
                f"budget: no architecture meets {budget} at once, though each bound can be met alone;"
                f" reachable are {format_ranges(table)}; loosen one bound"
            )

    def admits(self, sample: Mapping[str, str]) -> bool:
        """Whether the architecture of ``sample`` is inside the budget."""
        return self.budget.admits(self.table.cost(sample))

    def best(self, scores: Scores) -> dict[str, str]:
        """The sample inside the budget with the largest sum of ``scores[label][candidate]``.

        With log-probabilities as scores this is the most probable architecture inside the budget.
        """
        objective = np.concatenate([np.asarray(scores[label], dtype=np.float64) for label in self.table.labels])
        if not np.isfinite(objective).all():
            raise ValueError("scores: must be finite")
        solution = self._solve(-objective)
        if solution is None:
            raise RuntimeError("the solver lost feasibility between two calls; please report this")
        return self.table.sample(solution)

    def random(self, rng: np.random.RandomState) -> dict[str, str]:
        """A random sample inside the budget: uniform proposals, then the nearest feasible to one."""
        proposals = np.stack([rng.randint(len(v), size=_PROPOSALS) for v in self.table.candidates.values()], axis=1)
        costs = self.table.evaluate(proposals)
        inside = np.ones(_PROPOSALS, dtype=bool)
        for metric, (low, high) in self.budget.bounds().items():
            inside &= (costs[metric] >= (-np.inf if low is None else low)) & (
                costs[metric] <= (np.inf if high is None else high)
            )
        first = int(np.argmax(inside))
        proposal = self.table.sample(proposals[first])
        return proposal if inside[first] else self.nearest(proposal, rng)

    def nearest(self, sample: Mapping[str, str], rng: np.random.RandomState) -> dict[str, str]:
        """The sample inside the budget that differs from ``sample`` in the fewest labels, ties broken at random."""
        if self.admits(sample):
            return dict(sample)
        scores = {}
        for label, values in self.table.candidates.items():
            scores[label] = rng.uniform(0, 0.5 / len(self.table.labels), len(values))
            scores[label][values.index(sample[label])] += 1
        return self.best(scores)

    def _check_ranges(self) -> None:
        reachable = self.table.reachable()
        for metric, (low, high) in self.budget.bounds().items():
            smallest, largest = reachable[metric]
            remedy = f"reachable are {format_ranges(self.table)}"
            if high is not None and high < smallest:
                raise InvalidRequest(
                    f"budget.max_{metric}: {high:,} is below the smallest architecture ({smallest:,}); {remedy}"
                )
            if low is not None and low > largest:
                raise InvalidRequest(
                    f"budget.min_{metric}: {low:,} is above the largest architecture ({largest:,}); {remedy}"
                )

    def _one_per_label(self) -> LinearConstraint:
        labels, variables = len(self._offsets) - 1, self._offsets[-1]
        rows = np.repeat(np.arange(labels), np.diff(self._offsets))
        matrix = csr_array((np.ones(variables), (rows, np.arange(variables))), shape=(labels, variables))
        return LinearConstraint(matrix, 1, 1)

    def _cost_row(self, metric: str, low: int | None, high: int | None) -> LinearConstraint:
        by_label = self.table.costs[metric]
        row = np.concatenate([by_label[label] for label in self.table.labels]).astype(np.int64)
        # Dividing by the common divisor keeps the row whole: the half below then separates "inside" from "outside" by
        # more than the solver's tolerance.
        divisor = max(1, int(np.gcd.reduce(row)))
        fixed = self.table.fixed[metric]
        lower = -np.inf if low is None else math.ceil((low - fixed) / divisor) - 0.5
        upper = np.inf if high is None else math.floor((high - fixed) / divisor) + 0.5
        return LinearConstraint((row // divisor)[None, :].astype(np.float64), lower, upper)

    def _solve(self, objective: NDArray[np.floating]) -> NDArray[np.int64] | None:
        """Candidate index of each label at the minimum of ``objective``; None if nothing is feasible."""
        result = milp(
            objective,
            integrality=np.ones_like(objective),
            bounds=Bounds(0, 1),
            constraints=self._constraints,
            options={"mip_rel_gap": 0.0},
        )
        if result.status == 2:  # infeasible
            return None
        if result.x is None:
            raise RuntimeError(f"the solver stopped without an answer: {result.message}")
        solution = np.array(
            [np.argmax(result.x[a:b]) for a, b in zip(self._offsets[:-1], self._offsets[1:], strict=True)]
        )
        costs = {metric: int(total[0]) for metric, total in self.table.evaluate(solution[None]).items()}
        if not self.budget.admits(costs):
            raise RuntimeError(f"the solver's answer costs {costs}, outside {self.budget}; please report this")
        return solution


def format_ranges(table: CostTable) -> str:
    """``"macs 2.29M to 59.00M, params 661.42k to 2.39M"``."""
    return ", ".join(
        f"{metric} {format_count(low)} to {format_count(high)}" for metric, (low, high) in table.reachable().items()
    )
