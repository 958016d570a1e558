"""The picture of a reproduced table, as the paper draws it: over rows, MACs, parameters or epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from evaluators.measuring.statistics import Summary
from experiments.figures import MACS_AXIS, colour_of, figure
from experiments.reproduce.table import PaperTable, Published
from experiments.runs.records import metrics_rows
from experiments.training.retrain import trained_seeds

_AXES = {"macs": MACS_AXIS, "params": "parameters, millions"}


@dataclass(frozen=True)
class Curve:
    """One point of the picture, or, over epochs, one line.

    Attributes:
        label: of its row.
        series: the line that the point is on.
        x: MACs or parameters, where the picture is over these.
        ours: figures in per cent.
        published: the paper's, if it prints one.
        home: the folder of its trainings.
    """

    label: str
    series: str
    x: int | None
    ours: Summary
    published: Published | None
    home: Path


def plot(curves: Sequence[Curve], table: PaperTable, title: str, path: Path) -> None:
    """Draw ``curves`` (PNG): ours filled with their standard deviation, the paper's figures hollow."""
    rows = table.axis == "rows"
    with figure(path, 8.4, 1.6 + 0.3 * len(curves) if rows else 4.6) as drawing:
        axes = drawing.subplots()
        if rows:
            _over_rows(axes, curves)
        elif table.axis == "epochs":
            _over_epochs(axes, curves)
        else:
            _over_costs(axes, curves)
            axes.set_xlabel(_AXES[table.axis])
        what = "distance of the error from the first row's, points"
        if table.measure == "accuracy":
            what = f"{'validation' if table.axis == 'epochs' else 'test'} accuracy, %"
        (axes.set_xlabel if rows else axes.set_ylabel)(what)
        axes.set_title(title)
        axes.grid(alpha=0.3)
        drawing.legend(loc="outside right upper", fontsize=8, frameon=False)


def _colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, hues evenly apart."""
    different = list(dict.fromkeys(names))
    return {name: colour_of(0.58 + i / len(different), 0.6, 0.2) for i, name in enumerate(different)}


def _over_rows(axes: Axes, curves: Sequence[Curve]) -> None:
    for position, one in enumerate(curves):
        label = "ours, mean ± standard deviation" if position == 0 else None
        colour = colour_of(0.58, 0.6, 0.2)
        axes.errorbar(one.ours.mean, position, xerr=one.ours.std, fmt="o", color=colour, capsize=3, label=label)
    quoted = [(one.published, position) for position, one in enumerate(curves) if one.published is not None]
    for number, (published, position) in enumerate(quoted):
        label = "the paper's" if number == 0 else None
        own: dict[str, Any] = {
            "xerr": published.std,
            "fmt": "D",
            "color": "0.35",
            "markerfacecolor": "none",
            "capsize": 3,
        }
        axes.errorbar(published.value, position, label=label, **own)
    axes.set_yticks(range(len(curves)), [one.label for one in curves])
    axes.set_ylim(len(curves) - 0.5, -0.5)


def _over_costs(axes: Axes, curves: Sequence[Curve]) -> None:
    colours = _colours([one.series for one in curves])
    for name, colour in colours.items():
        points = sorted((one for one in curves if one.series == name), key=lambda one: one.x or 0)
        places, means = [(one.x or 0) / 1e6 for one in points], [one.ours.mean for one in points]
        spread = [one.ours.std or 0.0 for one in points]
        axes.errorbar(places, means, yerr=spread, fmt="o-", color=colour, capsize=3, label=name)
        quoted = [one for one in points if one.published is not None]
        values = [one.published.value for one in quoted if one.published is not None]
        axes.plot([(one.x or 0) / 1e6 for one in quoted], values, "D:", color=colour, markerfacecolor="none")
    if any(one.published is not None for one in curves):  # one entry for all
        axes.plot([], [], "D:", color="0.35", markerfacecolor="none", label="the paper's")


def _over_epochs(axes: Axes, curves: Sequence[Curve]) -> None:
    for name, colour in _colours([one.label for one in curves]).items():
        home = next(one.home for one in curves if one.label == name)
        seeds = [
            {int(row["epoch"]): 100 * float(row["val_accuracy"]) for row in metrics_rows(folder / "metrics.csv")}
            for folder in trained_seeds(home).values()
        ]
        epochs = sorted(set.intersection(*(set(seed) for seed in seeds)))
        values = np.array([[seed[epoch] for epoch in epochs] for seed in seeds])
        axes.plot([epoch + 1 for epoch in epochs], values.mean(axis=0), color=colour, label=name, marker=".")
        if len(values) > 1:
            low, high = values.min(axis=0), values.max(axis=0)
            axes.fill_between([epoch + 1 for epoch in epochs], low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel("epoch")
