"""Architectures of a table inside a budget: uniform draws, and draws spread over what they can cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from search_space.base.checks import unknown
from search_space.base.errors import InvalidRequest
from search_space.cost_table import CostTable
from strategies.budget.box import IntArray
from strategies.budget.box_sampler import WORK, BoxSampler
from strategies.budget.budget import Budget
from strategies.budget.integer_costs import integer_costs
from strategies.budget.milp import IntegerProgram


def budget_sampler(
    table: CostTable, budget: Budget, choices: Sequence[IntArray] | None = None, work: float = WORK
) -> BoxSampler:
    """A sampler of the candidate indices (n, labels) of architectures inside ``budget``.

    With ``choices`` label i may take the candidates ``choices[i]`` only, and the sampler gives positions in these.
    """
    integers = integer_costs(table, budget)
    costs = integers.costs
    if choices is not None:
        costs = [per_candidate[c] for per_candidate, c in zip(costs, choices, strict=True)]
    confirm: Callable[[IntArray], NDArray[np.bool_]] | None = None
    if not integers.exact:

        def confirm(drawn: IntArray) -> NDArray[np.bool_]:
            if choices is not None:
                drawn = np.stack([own[drawn[:, i]] for i, own in enumerate(choices)], axis=1)
            return budget.inside(table.evaluate(drawn, budget.bounds()))

    return BoxSampler(costs, integers.low, integers.high, confirm=confirm, work=work)


def spread(table: CostTable, budget: Budget, metric: str, rng: np.random.RandomState, n: int) -> IntArray:
    """``n`` architectures inside the budget (n, labels), one from each of ``n`` equal bins of what ``metric`` can be.

    See `FeasibleSet.spread`. ``budget`` must admit something.
    """
    if metric not in table.metrics:
        raise unknown("metric", metric, table.metrics)
    if n < 1:
        raise InvalidRequest(f"n: {n} must be 1 or more")
    low, high = (table.evaluate(end[None], (metric,))[metric].item() for end in extremes(table, budget, metric))
    whole = isinstance(low, int)
    result = []
    for i in range(n):
        middle, half = low + (high - low) * (i + 0.5) / n, (high - low) / n / 2
        while True:
            start, end = max(middle - half, low), min(middle + half, high)
            if whole:
                start, end = math.ceil(start), math.floor(end)
            if start <= end:
                with suppress(InvalidRequest):  # too narrow a window to draw from
                    sampler = budget_sampler(table, budget.bounded(metric, start, end), work=WORK / 10)
                    if sampler.count > 0:
                        break
            half = 2 * half if half else 1.0
        result.append(sampler.draw(rng, 1)[0])
    return np.stack(result)


def extremes(table: CostTable, budget: Budget, metric: str) -> tuple[IntArray, IntArray]:
    """The cheapest and the dearest architecture (labels,) inside the budget, to 0.1% of what the space spans.

    Without that tolerance the dearest under a bound is a subset-sum problem, and the solver could take for ever.
    """
    own = [table.costs[metric][label] for label in table.labels]
    span = float(sum(values.max() - values.min() for values in own)) or 1.0
    program = IntegerProgram(table, budget)
    ends = []
    for cheapest in (True, False):
        # the sum of these is 1 at the better end of the space, and 2 at the other
        rows = [(v - v.min() if cheapest else v.max() - v) / span + 1 / len(own) for v in own]
        end = program.solve(np.concatenate(rows).astype(np.float64), gap=1e-3)
        if end is None:
            raise RuntimeError("the solver lost feasibility between two calls; please report this")
        ends.append(end)
    return ends[0], ends[1]
