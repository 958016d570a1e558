"""Speed of costing architectures: the closed-form table beside NNI's profiler."""

from __future__ import annotations

import statistics

import numpy as np
import torch
from nni.nas.profiler.pytorch.flops import FlopsProfiler

from experiments.bench.clock import Row, timed
from search_space.candidates import SearchSpace
from search_space.space import SepConvSpace

#: NNI's profiler cannot follow the padding of even kernels nor channel splits, so its ratio is taken without them
PROFILED = ("dw_k3", "dw_k5", "dw_k7", "xsep_no2x2_k5", "xsep_no2x2_k7", "sep_k3", "bsconv_u_k3", "bsconv_s_k3", "skip")


def cost_rows(repeats: int) -> list[Row]:
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
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(len(many) / timed(lambda: table.evaluate(many)))
        theirs.append(len(samples) / timed(lambda: [profiler.profile(sample) for sample in samples]))
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return [
        {"name": "cost: architectures a second, vectorised", "value": statistics.median(ours), "unit": "/s"},
        {
            "name": "cost: architectures a second, NNI's profiler (MACs)",
            "value": statistics.median(theirs),
            "unit": "/s",
        },
        {"name": "cost: ratio ours / NNI's", "value": ratio, "unit": "x"},
        {"name": f"cost: MACs that differ from NNI's, of {len(samples)}", "value": different, "unit": ""},
    ]
