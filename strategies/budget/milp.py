"""The architectures inside a budget as an integer program, solved exactly by HiGHS through SciPy.

One binary variable per candidate, one candidate per label, one linear row per bounded cost. Every solution is checked
in the table's own arithmetic; one outside, which the solver's tolerance may let through, is cut off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from search_space.cost_table import CostTable
from strategies.budget.budget import SLACK, Budget

IntArray = NDArray[np.int64]

#: Solutions outside that are cut off before giving up; one is rare.
_CUTS = 200


class IntegerProgram:
    """Minimises a linear objective over the architectures of ``table`` inside ``budget``."""

    def __init__(self, table: CostTable, budget: Budget) -> None:
        self.table = table
        self.budget = budget
        self._offsets = np.concatenate([[0], np.cumsum([len(values) for values in table.candidates.values()])])
        labels, variables = len(table.labels), self._offsets[-1]
        rows = np.repeat(np.arange(labels), np.diff(self._offsets))
        one_each = csr_array((np.ones(variables), (rows, np.arange(variables))), shape=(labels, variables))
        self._constraints = [LinearConstraint(one_each, 1, 1)]
        for metric, (low, high) in budget.bounds().items():
            self._constraints.append(self._cost_row(metric, low, high))

    def solve(
        self,
        objective: NDArray[np.floating],
        without: Sequence[IntArray] = (),
        *,
        apart: int = 1,
        gap: float = 0.0,
        seconds: float = np.inf,
        nodes: int | None = None,
    ) -> IntArray | None:
        """Candidates (labels,) at the minimum of ``objective`` (candidates of all labels,), among those that
        differ from each of ``without`` in ``apart`` labels at least; None if none of them is inside.

        ``gap`` > 0 accepts a minimum that may be lower by that share of itself. TimeoutError if the solver takes more
        than ``seconds``, or more than ``nodes`` of its search tree (the same on every machine), for a solution.
        """
        options = {"mip_rel_gap": gap, "time_limit": seconds} | ({} if nodes is None else {"node_limit": nodes})
        cuts = [self._cut([np.array([k]) for k in solution], apart) for solution in without]
        for _ in range(_CUTS):
            solution = self._relaxed(objective, cuts, options)
            if solution is None:
                return None
            if self.budget.inside(self.table.evaluate(solution[None]))[0]:
                return solution
            cuts.append(self._cut(self._alike(solution)))
        raise RuntimeError(f"the solver gave {_CUTS} answers outside {self.budget}; please report this")

    def _relaxed(
        self, objective: NDArray[np.floating], cuts: list[LinearConstraint], options: dict[str, float]
    ) -> IntArray | None:
        result = milp(
            objective,
            integrality=np.ones_like(objective),
            bounds=Bounds(0, 1),
            constraints=[*self._constraints, *cuts],
            options=options,
        )
        if result.status == 2:  # infeasible
            return None
        # scipy does not know the status of a search that ends at its limit of nodes
        if result.status == 1 or (result.status == 4 and "node_limit" in options):
            raise TimeoutError
        if result.x is None:
            raise RuntimeError(f"the solver stopped without an answer: {result.message}")
        return np.array([np.argmax(own) for own in np.split(result.x, self._offsets[1:-1])], dtype=np.int64)

    def _alike(self, solution: IntArray) -> list[IntArray]:
        """Of each label the candidates that cost what the one of ``solution`` does: they are outside together."""
        bounded = [self.table.costs[metric] for metric in self.budget.bounds()]
        labels = zip(self.table.labels, solution, strict=True)
        return [np.flatnonzero(np.all([own[label] == own[label][k] for own in bounded], axis=0)) for label, k in labels]

    def _cut(self, candidates: list[IntArray], apart: int = 1) -> LinearConstraint:
        """Something else than one of ``candidates[i]`` at ``apart`` labels i or more."""
        row = np.zeros(self._offsets[-1])
        for offset, own in zip(self._offsets, candidates, strict=False):
            row[offset + own] = 1
        return LinearConstraint(row[None, :], -np.inf, len(candidates) - apart)

    def _cost_row(self, metric: str, low: float | None, high: float | None) -> LinearConstraint:
        row = np.concatenate([self.table.costs[metric][label] for label in self.table.labels])
        fixed = self.table.fixed[metric]
        if np.issubdtype(row.dtype, np.integer):
            # Dividing by the common divisor keeps the row whole: the half below then separates "inside" from "outside"
            # by more than the solver's tolerance.
            unit: float = max(1, int(np.gcd.reduce(row)))
            row = row // unit
            lower = -np.inf if low is None else math.ceil((low - fixed) / unit) - 0.5
            upper = np.inf if high is None else math.floor((high - fixed) / unit) + 0.5
        else:
            unit = float(row.max()) / 1000 or 1.0
            row = row / unit
            lower = -np.inf if low is None else (low * (1 - SLACK) - fixed) / unit - SLACK
            upper = np.inf if high is None else (high * (1 + SLACK) - fixed) / unit + SLACK
        return LinearConstraint(row[None, :].astype(np.float64), lower, upper)
