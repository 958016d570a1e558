"""Where a strategy gets the costs of a space from, and what it checks before anything is trained."""

from __future__ import annotations

import copy
from collections.abc import Callable
from textwrap import shorten
from typing import Any

import numpy as np
from nni.mutable import Categorical
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.profiler.pytorch.flops import FlopsParamsProfiler

from search_space.base.errors import InvalidRequest
from search_space.cost_table import CostTable

#: Random architectures on which a profiled table is compared with the profiler.
_CHECKS = 512
#: Architectures whose parameters are counted on the network itself.
_COUNTED = 3


def find_cost_table(space: Any, costs: CostTable | None) -> CostTable:
    """``costs`` if given, else the space's own ``cost_table``; InvalidRequest if there is neither or the labels of
    the space are not those of the table."""
    table = costs if costs is not None else getattr(space, "cost_table", None)
    if table is None:
        raise InvalidRequest(
            f"costs: {type(space).__name__} has no cost_table; give the strategy costs=CostTable(...) for its labels"
        )
    candidates = categorical_labels(space)
    for label, values in candidates.items():
        if values != tuple(table.candidates.get(label, ())):
            raise InvalidRequest(f"costs: the candidates of label {label!r} are not those of the space")
    if extra := sorted(set(table.candidates) - set(candidates)):
        raise InvalidRequest(f"costs: label {extra[0]!r} is not in the space")
    return table


def categorical_labels(space: Any) -> dict[str, tuple[Any, ...]]:
    """{label: its values} of an NNI space; InvalidRequest if one of them is not categorical."""
    labels = space.simplify()
    for label, mutable in labels.items():
        if not isinstance(mutable, Categorical):
            raise InvalidRequest(
                f"label {label!r}: {type(mutable).__name__} is not categorical; no budget can cover it"
            )
    return {label: tuple(mutable.values) for label, mutable in labels.items()}


def profiled_costs(space: ModelSpace, example_input: Any) -> CostTable:
    """MACs (of convolutions and linear layers) and params of a space by NNI's profiler, as a table for ``costs=``.

    ``example_input`` is what the network is called with, such as ``torch.zeros(1, 3, 32, 32)``. Needs the space before
    any strategy has mutated it, and leaves it as it is. InvalidRequest if NNI cannot follow the network, or if costs do
    not add up over the labels (two mutable widths in a row multiply, say), which 512 random architectures must show.
    """
    candidates = categorical_labels(space)
    name = type(space).__name__
    profiled = _profiler(space, example_input)
    base = {label: values[0] for label, values in candidates.items()}
    start = profiled(base)
    costs: dict[str, dict[str, Any]] = {metric: {} for metric in start}
    fixed = dict(start)
    for label, values in candidates.items():
        own = [profiled({**base, label: value}) for value in values]
        for metric in start:
            differences = np.array([cost[metric] - start[metric] for cost in own], dtype=np.int64)
            # what even the cheapest value costs is common to all architectures
            costs[metric][label] = differences - differences.min()
            fixed[metric] += int(differences.min())
    table = CostTable(candidates, costs, fixed)
    rng = np.random.default_rng(0)
    for check in range(_CHECKS):
        sample = table.sample(np.array([rng.integers(len(values)) for values in candidates.values()]))
        real, summed = profiled(sample), table.cost(sample)
        for metric, value in real.items():
            if value != summed[metric]:
                raise InvalidRequest(
                    f"space: the {metric} of {name} are not a sum over its labels (a sample costs {value:,}, its labels"
                    f" sum to {summed[metric]:,}); make those that act together one label, or give costs=CostTable(...)"
                )
        if check < _COUNTED:
            counted = sum(parameter.numel() for parameter in copy.deepcopy(space).freeze(sample).parameters())
            if counted != real["params"]:
                raise InvalidRequest(
                    f"space: NNI's profiler finds {real['params']:,} of {counted:,} params of {name}; register formulas"
                    " for its modules (nni.nas.profiler.pytorch.flops), or give costs=CostTable(...)"
                )
    return table


def _profiler(space: ModelSpace, example_input: Any) -> Callable[[dict[str, Any]], dict[str, int]]:
    """Costs of samples by NNI's profiler, in the convention of sepnas."""
    off = {"count_bias": False, "count_normalization": False, "count_activation": False}
    try:
        # a profiler runs the network, which must not change batch-norm statistics, and leaves hooks if it fails;
        # without normalisation its parameters would be missing too
        macs, params = (FlopsParamsProfiler(copy.deepcopy(space).eval(), example_input, **o) for o in (off, {}))
    except Exception as error:
        reason = shorten(f"{type(error).__name__}: {error}", 150, placeholder=" ...")
        raise InvalidRequest(
            f"space: NNI's profiler cannot follow {type(space).__name__} ({reason}); give costs=CostTable(...)"
        ) from error
    return lambda s: {"macs": round(macs.profile(s).flops), "params": round(params.profile(s).params)}
