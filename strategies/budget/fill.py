"""The part of a budget that uses most of it: where searches look, and where fair random controls come from."""

from __future__ import annotations

import math

from search_space.base.checks import check_share
from strategies.budget.budget import EXACT_METRICS
from strategies.budget.feasible import FeasibleSet
from strategies.budget.sampler import extremes


def top_part(feasible: FeasibleSet, share: float) -> FeasibleSet:
    """The architectures of ``feasible`` that use at least ``share`` of its tightest upper bound.

    The tightest bound is the one that the dearest architecture inside comes closest to. Where even that leaves more
    than 1 - ``share`` unused, or nothing is bounded above, the share is of what the dearest one costs, so the part is
    never empty. Lower bounds of the budget still hold.

    Args:
        feasible: the architectures inside a budget.
        share: between 0 and 1.
    """
    check_share("share", share)
    table, budget = feasible.table, feasible.budget
    upper = {metric: high for metric, (_, high) in budget.bounds().items() if high is not None}
    metrics = list(upper) or ["macs" if "macs" in table.metrics else table.metrics[0]]
    largest = {
        metric: table.evaluate(extremes(table, budget, metric)[1][None], (metric,))[metric].item() for metric in metrics
    }
    tightest = max(metrics, key=lambda metric: largest[metric] / upper[metric] if upper.get(metric) else 0.0)
    full = upper.get(tightest, largest[tightest])
    if largest[tightest] < share * full:
        full = largest[tightest]
    least = math.ceil(share * full) if tightest in EXACT_METRICS else share * full
    low, high = budget.bounds().get(tightest, (None, None))
    return FeasibleSet(table, budget.bounded(tightest, least if low is None else max(low, least), high))
