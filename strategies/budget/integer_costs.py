"""The costs of a table in whole numbers, with the bounds of a budget on them: what counting works on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_space.cost_table import CostTable
from strategies.budget.budget import SLACK, Budget

IntArray = NDArray[np.int64]

#: A bound that excludes nothing: no sum of costs comes near, and differences of two still fit 64 bits.
_OPEN = 2**61
#: A cost that is not a whole number is counted in so many parts of the metric's range, rounded down.
_PARTS = 2**40


@dataclass(frozen=True)
class IntegerCosts:
    """``costs[i]`` of shape (candidates, metrics) for label i, and ``low`` <= their total <= ``high`` (metrics,).

    If ``exact`` these are the architectures inside the budget. Otherwise some metric is not a whole number: it is
    rounded, the bounds are wider by what rounding takes away, and a few architectures just outside meet them too.
    """

    costs: list[IntArray]
    low: IntArray
    high: IntArray
    exact: bool


def integer_costs(table: CostTable, budget: Budget) -> IntegerCosts:
    """The metrics that ``budget`` bounds."""
    columns, lows, highs, exact = [], [], [], True
    for metric, (low, high) in budget.bounds().items():
        own = [table.costs[metric][label] for label in table.labels]
        if all(np.issubdtype(values.dtype, np.integer) for values in own):
            fixed = table.fixed[metric]
            columns.append(own)
            lows.append(-_OPEN if low is None else int(low) - fixed)
            highs.append(_OPEN if high is None else int(high) - fixed)
            continue
        exact = False
        least = [float(values.min()) for values in own]
        unit = sum(float(values.max()) for values in own) - sum(least)
        unit = unit / _PARTS if unit > 0 else 1.0
        base = table.fixed[metric] + sum(least)
        columns.append([((v - m) / unit).astype(np.int64) for v, m in zip(own, least, strict=True)])
        # each label loses less than one unit, and the arithmetic here far less than another
        lows.append(-_OPEN if low is None else _clipped((low * (1 - SLACK) - base) / unit) - 2 * len(own) - 2)
        highs.append(_OPEN if high is None else _clipped((high * (1 + SLACK) - base) / unit) + 2)
    costs = [
        np.stack([column[i] for column in columns], axis=1) if columns else np.empty((len(values), 0), dtype=np.int64)
        for i, values in enumerate(table.candidates.values())
    ]
    return IntegerCosts(costs, np.array(lows, dtype=np.int64), np.array(highs, dtype=np.int64), exact)


def _clipped(value: float) -> int:
    return int(np.floor(np.clip(value, -_OPEN, _OPEN)))
