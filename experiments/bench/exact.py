"""Speed of what is exact: costs of architectures beside NNI's profiler, and answers about a budget."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import numpy as np
import torch
from nni.nas.profiler.pytorch.flops import FlopsProfiler

from experiments.bench.measuring import Row, in_turn, timed
from search_space.candidates import SearchSpace
from search_space.cost_table import CostTable
from search_space.space import SepConvSpace
from strategies.budget.budget import Budget
from strategies.budget.feasible import FeasibleSet

#: NNI's profiler cannot follow the padding of even kernels nor channel splits, so its ratio is taken without them
PROFILED = ("dw_k3", "dw_k5", "dw_k7", "xsep_no2x2_k5", "xsep_no2x2_k7", "sep_k3", "bsconv_u_k3", "bsconv_s_k3", "skip")
DRAWS = 20_000
#: Sizes of the best-architecture problem: blocks, candidates of each, instances.
LABELS, CANDIDATES, INSTANCES = 20, 60, 20


def cost_rows(repeats: int) -> Iterator[Row]:
    """Cost of many architectures: our table, and NNI's profiler on the same ones."""
    space = SepConvSpace(SearchSpace.create(operators=PROFILED)).eval()
    table = space.cost_table
    rng = np.random.default_rng(0)
    many = np.stack([rng.integers(len(values), size=200_000) for values in table.candidates.values()], axis=1)
    samples = [table.sample(row) for row in many[:500]]
    profiler = FlopsProfiler(
        space, torch.randn(1, 3, 32, 32), count_bias=False, count_normalization=False, count_activation=False
    )
    different = sum(profiler.profile(sample) != table.cost(sample)["macs"] for sample in samples)
    speeds = in_turn(
        lambda: len(many) / timed(lambda: table.evaluate(many)),
        lambda: len(samples) / timed(lambda: [profiler.profile(sample) for sample in samples]),
        repeats,
    )
    yield Row("cost: architectures per second, vectorised", speeds.ours, "/s")
    yield Row("cost: architectures per second, NNI's profiler (MACs)", speeds.theirs, "/s")
    yield Row("cost: ratio ours / NNI's", speeds.ratio, "x")
    yield Row(f"cost: MACs that differ from NNI's, of {len(samples)}", different, "")


def budget_rows(repeats: int) -> Iterator[Row]:
    """Draws per second at a budget that few architectures meet, and the time of an exact in-budget argmax."""
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
    yield Row("sampling: share of the default space inside the budget", share, "")
    yield Row("sampling: architectures per second, uniform", statistics.median(rates), "/s")
    yield Row("sampling: counting before the first draw", statistics.median(setups), "s")
    generator = np.random.default_rng(0)
    seconds = [_argmax_seconds(generator) for _ in range(INSTANCES)]
    name = f"argmax: {LABELS} blocks x {CANDIDATES} candidates, two budgets, median of {INSTANCES} instances"
    yield Row(name, statistics.median(seconds) * 1e3, "ms")


def _argmax_seconds(rng: np.random.Generator) -> float:
    labels = [f"block{index}" for index in range(LABELS)]
    table = CostTable(
        candidates={label: tuple(map(str, range(CANDIDATES))) for label in labels},
        costs={m: {label: rng.integers(1, 10**6, CANDIDATES) for label in labels} for m in ("macs", "params")},
        fixed={"macs": 0, "params": 0},
    )
    bounds = {f"max_{m}": low + (high - low) // 3 for m, (low, high) in table.reachable().items()}
    feasible = FeasibleSet(table, Budget(**bounds))
    scores = {label: np.log(rng.dirichlet(np.ones(CANDIDATES))) for label in labels}
    return timed(lambda: feasible.best(scores))
