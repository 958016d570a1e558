"""Speed of the exact answers about a budget: uniform draws from inside it, and the best architecture inside."""

from __future__ import annotations

import statistics

import numpy as np

from experiments.bench.clock import Row, timed
from search_space.candidates import SearchSpace
from search_space.cost_table import CostTable
from strategies.budget.budget import Budget
from strategies.budget.feasible import FeasibleSet

DRAWS = 20_000
#: Sizes of the best-architecture problem: blocks, candidates of each, instances.
LABELS, CANDIDATES, INSTANCES = 20, 60, 20


def budget_rows(repeats: int) -> list[Row]:
    """Draws a second at a budget that few architectures meet, and the time of an exact in-budget argmax."""
    return [*_sampling(repeats), *_argmax()]


def _sampling(repeats: int) -> list[Row]:
    table = SearchSpace.create().cost_table
    low, high = table.reachable()["macs"]
    share, bound = 1.0, float(high)
    while share >= 1e-4:  # rejection would draw 10,000 architectures for one
        bound = low + (bound - low) * 0.9
        share = FeasibleSet(table, Budget(max_macs=round(bound))).share
    setups, rates = [], []
    rng = np.random.RandomState(0)
    for _ in range(repeats):
        feasible = FeasibleSet(table, Budget(max_macs=round(bound)))
        setups.append(timed(lambda: feasible.random(rng)))  # noqa: B023 -- called at once
        rates.append(DRAWS / timed(lambda: feasible.sample_many(rng, DRAWS)))  # noqa: B023 -- called at once
    return [
        {"name": "sampling: share of the default space inside the budget", "value": share, "unit": ""},
        {"name": "sampling: architectures a second, uniform", "value": statistics.median(rates), "unit": "/s"},
        {"name": "sampling: counting before the first draw", "value": statistics.median(setups), "unit": "s"},
    ]


def _argmax() -> list[Row]:
    rng = np.random.default_rng(0)
    labels = [f"block{index}" for index in range(LABELS)]
    seconds = []
    for _ in range(INSTANCES):
        table = CostTable(
            candidates={label: tuple(map(str, range(CANDIDATES))) for label in labels},
            costs={m: {label: rng.integers(1, 10**6, CANDIDATES) for label in labels} for m in ("macs", "params")},
            fixed={"macs": 0, "params": 0},
        )
        bounds = {f"max_{m}": low + (high - low) // 3 for m, (low, high) in table.reachable().items()}
        feasible = FeasibleSet(table, Budget(**bounds))
        scores = {label: np.log(rng.dirichlet(np.ones(CANDIDATES))) for label in labels}
        seconds.append(timed(lambda: feasible.best(scores)))  # noqa: B023 -- called at once
    name = f"argmax: {LABELS} blocks x {CANDIDATES} candidates, two budgets, median of {INSTANCES} instances"
    return [{"name": name, "value": statistics.median(seconds) * 1e3, "unit": "ms"}]
