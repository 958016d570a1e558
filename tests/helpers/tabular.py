"""Regret of searches that score one architecture after the other, on tables of which the best is known.

In ``tests/``, ``python -m helpers.tabular SEEDS NAME [OPTION=VALUE ...]`` prints it for the seeds, as in ``0-50``,
without and with noise, without and with a budget.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import numpy as np

from helpers.spaces import Landscape
from strategies import Budget, FeasibleSet
from strategies.budget.remaining import Remaining
from strategies.options import MultiTrialOptions
from strategies.registry import registered

#: In the table's standard deviation; noisy and true scores correlate by 0.96.
NOISE = 0.3


def regret(
    name: str, options: MultiTrialOptions, seed: int, *, budget: bool = False, noise: bool = False, trials: int = 100
) -> float:
    """How far the best-scored of ``trials`` architectures is below the best inside, in the table's standard deviation.

    Args:
        name: of the strategy.
        options: its options.
        seed: of the table, the search and the noise.
        budget: whether architectures must be in the lower 40 % of the range of MACs.
        noise: whether scores are noisy; the regret is that of the true score of the best noisy one.
        trials: architectures scored.
    """
    landscape = Landscape(seed)
    table = landscape.costs
    low, high = table.reachable()["macs"]
    feasible = FeasibleSet(table, Budget(max_macs=low + 4 * (high - low) // 10) if budget else Budget())
    every = np.stack([values.ravel() for values in np.indices([len(own) for own in table.candidates.values()])], axis=1)
    truth = landscape.alone[np.arange(every.shape[1]), every].sum(1)
    truth += landscape.pairs[np.arange(every.shape[1] - 1), every[:, :-1], every[:, 1:]].sum(1)
    remaining = Remaining(feasible, lambda sample: tuple(table.indices(sample).tolist()))
    proposer = registered(name).load()(options, feasible, remaining, seed)
    rng = np.random.default_rng(10_000 + seed)
    best = (-math.inf, -math.inf)
    for trial in range(trials):
        sample = proposer.propose()
        if sample is None:
            break
        remaining.remove(sample)
        score = landscape(sample)
        metric = score + rng.normal() * (NOISE * truth.std() if noise else 0)
        proposer.observe(trial, sample, metric)
        best = max(best, (metric, score))
    return float((truth[feasible.budget.inside(table.evaluate(every))].max() - best[1]) / truth.std())


def main(seeds: str, name: str, *given: str) -> None:
    """Print a row of a table."""
    values: dict[str, Any] = {option: json.loads(text) for option, text in (one.split("=") for one in given)}
    options: Any = registered(name).options(**values)
    first, last = map(int, seeds.split("-"))
    cells = []
    for budget in (False, True):
        for noise in (False, True):
            regrets = [regret(name, options, seed, budget=budget, noise=noise) for seed in range(first, last)]
            cells.append(f"{np.mean(regrets):.3f} ± {np.std(regrets, ddof=1):.3f}")
    print(f"| {' '.join([name, *given])} | " + " | ".join(cells) + f" | {last - first} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
