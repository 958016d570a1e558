"""The picture of a Pareto set: accuracy against a cost, and the hypervolume as the search went on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.figures import draw_bounds, figure
from strategies.multi_trial.pareto import non_dominated

_AXES = {"macs": "MACs per image", "params": "parameters"}
_UNITS = ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands"))


def plot_pareto(
    accuracies: NDArray[np.float64],
    costs: Mapping[str, NDArray[Any]],
    on_front: NDArray[np.bool_],
    volumes: NDArray[np.float64],
    objectives: Sequence[str],
    bounds: Mapping[str, tuple[float | None, float | None]],
    path: Path,
) -> None:
    """Two panels (PNG): every architecture scored, at its first objective, and the hypervolume after each.

    ``accuracies`` (n,), ``costs`` ({metric: (n,)}), ``on_front`` (n,) and ``volumes`` (n,) are of all that was scored,
    in its order; ``bounds`` those of the budget. Of a front over several costs, a line joins those members that are on
    it by accuracy and the cost shown alone, and colour gives the second cost.
    """
    shown = objectives[0]
    title, unit = _axis(shown, costs[shown])
    x, y = np.asarray(costs[shown], dtype=np.float64) / unit, 100 * accuracies
    with figure(path, 10.4, 4.4) as drawing:
        left, right = drawing.subplots(1, 2, width_ratios=(1.7, 1))
        left.scatter(x[~on_front], y[~on_front], s=14, color="0.75", label="scored", zorder=1)
        alone = non_dominated(np.stack([-y, x], axis=1))
        order = np.flatnonzero(alone)[np.argsort(x[alone], kind="stable")]
        left.step(x[order], y[order], where="post", color="C0", linewidth=1.2, zorder=2)
        if len(objectives) > 1:
            second, second_unit = _axis(objectives[1], costs[objectives[1]][on_front])
            colours = {"c": np.asarray(costs[objectives[1]])[on_front] / second_unit, "cmap": "viridis"}
        else:
            second, colours = "", {"color": "C0"}
        members = left.scatter(
            x[on_front], y[on_front], s=42, edgecolors="black", linewidths=0.6, label="Pareto set", zorder=3, **colours
        )
        if second:
            drawing.colorbar(members, ax=left, label=second)
        draw_bounds(left, bounds.get(shown, (None, None)), unit)
        left.set_xlabel(title)
        left.set_ylabel("validation accuracy, %")
        left.set_title(f"{int(on_front.sum())} of {len(accuracies)} architectures in the Pareto set", fontsize=10)
        left.grid(alpha=0.3)
        left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4, frameon=False, fontsize=8)
        right.step(np.arange(1, len(volumes) + 1), volumes, where="post", color="C0")
        right.set_xlabel("architectures scored")
        right.set_ylabel("hypervolume (1 is the ideal)")
        right.set_title(f"over accuracy, {', '.join(objectives)}", fontsize=10)
        right.grid(alpha=0.3)


def _axis(metric: str, values: NDArray[Any]) -> tuple[str, float]:
    """What an axis of ``metric`` is called, and the unit of its numbers; a user's own cost keeps the user's unit."""
    if metric not in _AXES:
        return metric, 1.0
    for unit, name in _UNITS:
        if np.max(values) >= unit:
            return f"{_AXES[metric]}, {name}", unit
    return _AXES[metric], 1.0
