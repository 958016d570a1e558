"""Pareto sets over a metric to maximise and costs to minimise: who is in, and how much they dominate.

Objectives are arrays (n, 1 + costs), all to be minimised: minus the metric, then the costs. Everything dominates a row
that is not finite.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_space.base.checks import require, shown
from search_space.base.errors import InvalidRequest
from search_space.cost_table import CostTable
from strategies.budget.budget import Budget

FloatArray = NDArray[np.float64]

#: The costs that are minimised beside maximising accuracy, unless others are named.
OBJECTIVES = ("macs", "params")


def check_objectives(objectives: Sequence[str], costs: Collection[str] | None, where: str = "objectives") -> None:
    """InvalidRequest for the field ``where`` unless ``objectives`` are one or more different names of ``costs`` (None:
    not known yet)."""
    remedy = "name one or more costs" if costs is None else f"name one or more of {', '.join(costs)}"
    require(len(objectives) > 0, where, list(objectives), "is empty", remedy)
    for name in objectives:
        if costs is not None and name not in costs:
            raise InvalidRequest(f"{where}: no cost table gives {shown(name)}; known are {', '.join(costs)}")
        require(list(objectives).count(name) == 1, where, name, "is given twice", "name each once")


def non_dominated(objectives: FloatArray) -> NDArray[np.bool_]:
    """Which rows (n,) of ``objectives`` (n, objectives) no other row dominates; equal rows are in together."""
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

    result = np.zeros(len(objectives), dtype=bool)
    finite = np.flatnonzero(np.isfinite(objectives).all(axis=1))
    if len(finite):
        result[finite[NonDominatedSorting().do(objectives[finite], only_non_dominated_front=True)]] = True
    return result


def survivors(objectives: FloatArray, n: int) -> NDArray[np.int64]:
    """NSGA-II's order of the ``n`` best of finite rows (n or fewer,): front after front, and the less crowded rows of a
    front first (Deb et al. 2002, section III)."""
    from pymoo.operators.survival.rank_and_crowding.metrics import get_crowding_function
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

    crowding = get_crowding_function("cd")
    fronts = [
        front[np.argsort(-crowding.do(objectives[front]), kind="stable")]
        for front in NonDominatedSorting().do(objectives, n_stop_if_ranked=n)
    ]
    return np.concatenate(fronts)[:n]


@dataclass(frozen=True)
class Reference:
    """Where hypervolume is measured from (accuracy 0 at the costs ``worst``) and to (accuracy 1 at the costs
    ``ideal``), {metric: cost} in the order of the objectives."""

    ideal: Mapping[str, float]
    worst: Mapping[str, float]

    @classmethod
    def of(cls, table: CostTable, budget: Budget, objectives: Sequence[str]) -> Reference:
        """From the smallest to the largest cost that can be reached, as far as the bounds of ``budget`` leave it."""
        check_objectives(objectives, table.metrics)
        reachable, bounds = table.reachable(), budget.bounds()
        ideal, worst = {}, {}
        for name in objectives:
            low, high = bounds.get(name, (None, None))
            ideal[name] = max(reachable[name][0], reachable[name][0] if low is None else low)
            worst[name] = min(reachable[name][1], reachable[name][1] if high is None else high)
        return cls(ideal, worst)

    def objectives(self, accuracy: FloatArray, costs: Mapping[str, NDArray[np.number]]) -> FloatArray:
        """Objectives (n, 1 + costs) scaled so that the ideal point is 0 and the reference point 1 in each.

        ``accuracy`` (n,) is between 0 and 1, or nan; ``costs`` is {metric: (n,)}. A cost that cannot vary is ideal.
        """
        columns = [1 - np.asarray(accuracy, dtype=np.float64)]
        for name, low in self.ideal.items():
            span = self.worst[name] - low
            own = np.asarray(costs[name], dtype=np.float64)
            columns.append((own - low) / span if span > 0 else np.zeros_like(own))
        return np.stack(columns, axis=1)


def hypervolume(scaled: FloatArray) -> float:
    """The share of the unit cube that rows of ``scaled`` (n, objectives), as `Reference.objectives` gives them,
    dominate; 0 if there is none."""
    from pymoo.indicators.hv import HV

    finite = scaled[np.isfinite(scaled).all(axis=1)]
    return float(HV(ref_point=np.ones(scaled.shape[1]))(finite)) if len(finite) else 0.0


def hypervolume_history(scaled: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """After each row of ``scaled`` the `hypervolume` of the rows up to it, and how many of those are non-dominated."""
    volumes, sizes = np.zeros(len(scaled)), np.zeros(len(scaled), dtype=np.int64)
    front = scaled[:0]
    volume = 0.0
    for index, row in enumerate(scaled):
        beaten = (front <= row).all(axis=1) & (front < row).any(axis=1)
        if np.isfinite(row).all() and not beaten.any():
            kept = front[~((row <= front).all(axis=1) & (row < front).any(axis=1))]
            front = np.concatenate([kept, row[None]])
            volume = hypervolume(front)
        volumes[index], sizes[index] = volume, len(front)
    return volumes, sizes
