"""Regret of searches that score one architecture after the other, on tables of which the best is known.

In ``tests/``, ``python -m helpers.tabular SEEDS NAME [OPTION=VALUE ...]`` prints it for the seeds, as in ``0-50``,
without and with noise, without and with a budget.
"""

from __future__ import annotations

import json
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
    """How far what a search takes for the best of ``trials`` architectures is below the best inside, in the table's
    standard deviation.

    Args:
        name: of the strategy.
        options: its options.
        seed: of the table, the search and the noise.
        budget: whether architectures must be in the lower 40 % of the range of MACs.
        noise: whether scores are noisy; the regret is that of the true score of what is taken for the best.
        trials: architectures scored.
    """
    landscape = Landscape(seed)
    table = landscape.costs
    low, high = table.reachable()["macs"]
    limit = low + 4 * (high - low) // 10
    feasible = FeasibleSet(table, Budget(max_macs=limit) if budget else Budget())
    truth = _sums(landscape.alone) + sum(_pair(pair, at, landscape) for at, pair in enumerate(landscape.pairs))
    macs = _sums(np.stack([table.costs["macs"][label] for label in table.labels])) + table.fixed["macs"]
    optimum = truth[macs <= limit].max() if budget else truth.max()
    remaining = Remaining(feasible, lambda sample: tuple(table.indices(sample).tolist()))
    proposer = registered(name).load()(options, feasible, remaining, seed)
    rng = np.random.default_rng(10_000 + seed)
    samples: list[Any] = []
    metrics: list[float] = []
    for trial in range(trials):
        sample = proposer.propose()
        if sample is None:
            break
        remaining.remove(sample)
        samples.append(sample)
        metrics.append(landscape(sample) + rng.normal() * (NOISE * truth.std() if noise else 0))
        proposer.observe(trial, sample, metrics[-1])
    best = samples[int(np.argmax(proposer.believed(samples, metrics)))]
    return float((optimum - landscape(best)) / truth.std())


def _sums(parts: np.ndarray) -> np.ndarray:
    """The sum of one number a label, for every architecture; an axis a label."""
    return sum(own.reshape([-1 if axis == at else 1 for axis in range(len(parts))]) for at, own in enumerate(parts))


def _pair(pair: np.ndarray, at: int, landscape: Landscape) -> np.ndarray:
    """What labels ``at`` and ``at + 1`` add, as an array that is broadcast over the other labels."""
    return pair.reshape([len(own) if axis in (at, at + 1) else 1 for axis, own in enumerate(landscape.alone)])


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
