"""The picture of an evaluation: confusion matrix and reliability diagram."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from evaluators.measuring.measurement import BINS, Measurement
from search_space.base.atomic import replacing

#: Classes up to which each cell shows its number, and up to which each row has its name.
_NUMBERED = 20
_NAMED = 100
#: Letters of a class's name.
_LETTERS = 16


def plot_evaluation(measured: Measurement, classes: tuple[str, ...], title: str, path: Path) -> None:
    """Confusion matrix (shares of a row in colour) beside the reliability diagram with the images of each bin (PNG)."""
    # a row of at least 0.13 inches holds a name of 5.5 points
    side = min(max(3.6, 0.13 * len(classes)), 14.0)
    width, height = side + 8.0, side + 2.1
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(width, height), dpi=150)

        def axes(left: float, bottom: float, wide: float, high: float) -> Axes:
            """At a place in inches: a layout engine would take seconds for hundreds of names."""
            return figure.add_axes((left / width, bottom / height, wide / width, high / height))

        bar = axes(side + 1.75, 1.5, 0.15, min(side, 3.6))
        _confusion(axes(1.6, 1.5, side, side), bar, measured, classes)
        right, top = side + 3.4, side + 1.5
        _reliability(axes(right, top - 2.6, 4.3, 2.6), axes(right, top - 3.6, 4.3, 0.8), measured)
        figure.suptitle(
            f"{title}: {measured.images:,} images, top-1 {measured.top1:.2%}", y=1 - 0.15 / height, va="top"
        )
        with replacing(path) as temporary:
            figure.savefig(temporary)


def _confusion(axes: Axes, bar: Axes, measured: Measurement, classes: tuple[str, ...]) -> None:
    table = measured.confusion
    totals = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, totals, out=np.zeros(table.shape), where=totals > 0)
    # as square roots, so that a few mistakes can be seen
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    bar.figure.colorbar(image, cax=bar, label="share of the label's images")
    axes.set_xlabel("most probable class")
    axes.set_ylabel("label")
    if len(classes) <= _NAMED:
        size = 8 if len(classes) <= _NUMBERED else 5.5
        names = [name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…" for name in classes]
        places = range(len(classes))
        axes.set_xticks(places, names, rotation=90, fontsize=size)
        axes.set_yticks(places, names, fontsize=size)
        axes.tick_params(length=2)
    if len(classes) <= _NUMBERED:
        for row, column in zip(*np.nonzero(table), strict=True):
            axes.text(
                column,
                row,
                f"{table[row, column]}",
                ha="center",
                va="center",
                fontsize=6.5,
                color="white" if shares[row, column] > 0.3 else "black",
            )


def _reliability(upper: Axes, lower: Axes, measured: Measurement) -> None:
    used = [part for part in measured.bins if part.accuracy is not None and part.confidence is not None]
    lows, width = [part.low for part in used], 1 / BINS
    accuracies = [100 * (part.accuracy or 0.0) for part in used]
    confidences = [100 * (part.confidence or 0.0) for part in used]
    upper.bar(lows, accuracies, width, align="edge", color="C0", edgecolor="white", label="accuracy")
    upper.scatter(
        [part.low + width / 2 for part in used], confidences, marker="_", s=60, color="C3", label="mean confidence"
    )
    upper.plot([0, 1], [0, 100], color="0.5", linestyle="--", linewidth=1, label="perfect calibration")
    upper.set_ylabel("%")
    upper.set_ylim(0, 103)
    upper.set_title(f"expected calibration error {measured.calibration_error:.4f}", fontsize=9)
    upper.legend(fontsize=7, loc="upper left", framealpha=0.8)
    lower.bar([part.low for part in measured.bins], [part.images for part in measured.bins], width, align="edge")
    lower.set_yscale("symlog", linthresh=1)
    lower.set_ylabel("images")
    lower.set_xlabel("probability of the most probable class")
    for each in (upper, lower):
        each.set_xlim(0, 1)
    upper.tick_params(labelbottom=False)
