"""``sepnas evaluate``: a trained network on one split, class by class, with a picture."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm

from evaluators.data.loaders import make_loader
from evaluators.data.options import DataOptions
from evaluators.measuring.measurement import BINS, NORM, TOP, Measurement, measure_accuracy
from evaluators.training.devices import pick_accelerator
from evaluators.training.loaders import check_input
from evaluators.training.recipes import Precision
from evaluators.training.run import Accelerator
from experiments.figures import figure
from experiments.runs.claimed_folder import ClaimedFolder, FolderKind
from experiments.runs.files import write_json, write_text
from experiments.runs.task import DataTask
from experiments.tables import table
from experiments.training.trained import TrainedNetwork
from search_space.base.checks import check_seed, printable
from search_space.base.errors import InvalidRequest
from search_space.network import build
from search_space.serialization import load_architecture
from search_space.weights import load_weights

Split = Literal["test", "validation", "train"]

RESULT = "evaluation.json"
MATRIX = "confusion_matrix.csv"
PICTURE = "evaluation.png"
EVALUATION = FolderKind("an evaluation", (RESULT, MATRIX, PICTURE))
_BATCH = 256
#: Classes that the text names; of more, so many of the worst.
_SHOWN = 20
#: Classes up to which each cell shows its number, and up to which each row has its name.
_NUMBERED = 20
_NAMED = 100
#: Letters of a class's name.
_LETTERS = 16


@dataclass(frozen=True)
class Evaluation:
    """A measurement, what was measured, and ``notes`` on what to bear in mind when reading it."""

    target: str
    data: str
    split: Split
    classes: tuple[str, ...]
    seed: int
    notes: tuple[str, ...]
    measured: Measurement

    def as_dict(self) -> dict[str, Any]:
        """A JSON value; shares are rounded to 1e-7, the precision that they are counted with."""
        m = self.measured
        counts = m.confusion.sum(axis=1).tolist()
        return {
            "target": self.target,
            "seed": self.seed,
            "data": self.data,
            "split": self.split,
            "images": m.images,
            "top1": round(m.top1, 7),
            "top5": _rounded(m.top5),
            "per_class": [
                {"class": name, "images": count, "accuracy": _rounded(share)}
                for name, count, share in zip(self.classes, counts, m.per_class, strict=True)
            ],
            "calibration_error": {"value": round(m.calibration_error, 7), "bins": BINS, "norm": NORM},
            "reliability": [asdict(part) for part in m.bins],
            "confusion_matrix": m.confusion.tolist(),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        m = self.measured
        top5 = f"not given for {len(self.classes)} classes" if m.top5 is None else f"{m.top5:.2%}"
        lines = [
            f"{printable(f'{self.target}, seed {self.seed}, on {self.split} of {self.data}')}: {m.images:,} images,"
            f" {len(self.classes)} classes",
            f"  top-1 accuracy     {m.top1:.2%}",
            f"  top-{TOP} accuracy     {top5}",
            f"  calibration error  {m.calibration_error:.4f} (expected calibration error, {BINS} bins, norm {NORM})",
            "",
            *self._class_lines(),
            *(f"note: {note}" for note in self.notes),
        ]
        return "\n".join(lines)

    def _class_lines(self) -> list[str]:
        shares, counts = self.measured.per_class, self.measured.confusion.sum(axis=1)
        order = list(range(len(self.classes)))
        title = "accuracy by class"
        if len(order) > _SHOWN:
            order = [index for index in order if shares[index] is not None]
            order = sorted(order, key=lambda index: shares[index] or 0.0)[:_SHOWN]
            title = f"accuracy of the {len(order)} worst classes"
        texts = ["no image" if share is None else f"{share:.2%}" for share in shares]
        rows = [(printable(self.classes[i]), texts[i], f"{counts[i]:,}", self._mistaken(i)) for i in order]
        return [title, table(rows, ("class", "accuracy", "images", "most often mistaken for"), right=(1, 2))]

    def _mistaken(self, index: int) -> str:
        row = self.measured.confusion[index].copy()
        row[index] = 0
        other = int(row.argmax())
        return f"{printable(self.classes[other])} ({row[other]:,})" if row[other] else ""


def evaluate(
    trained: TrainedNetwork,
    target: str,
    data_config: DataOptions,
    *,
    split: Split = "test",
    split_seed: int = 0,
    accelerator: Accelerator = "auto",
) -> Evaluation:
    """Measure ``trained`` on a split of the images of ``data_config``, normalised as its training images were.

    InvalidRequest if the weights are not those of the architecture, or the images have another size, other channels or
    other classes than the training's, or the same classes in another order.
    """
    device = pick_accelerator(accelerator)
    check_seed("split_seed", split_seed)
    # before any image is decoded
    task = DataTask(data_config, split_seed)
    check_classes(trained.preprocessing.classes, task.classes, data_config.name)
    architecture = load_architecture(trained.architecture)
    check_input(architecture, data_config.name, data_config.image_size, task.channels, len(task.classes))
    network = build(architecture)
    load_weights(network, trained.weights)
    data = task.data
    like_training = copy.copy(data)
    like_training.mean, like_training.std = trained.preprocessing.normalisation
    loader = make_loader(getattr(data, split), like_training, _BATCH, shuffle=False, device=device)
    # as the training measured, where that can be
    precision: Precision = "fp32" if trained.precision == "fp16" and device == "cpu" else trained.precision
    measured = measure_accuracy(network, loader, len(data.classes), device=device, precision=precision)
    name = data_config.title or data.name
    notes = _notes(trained, data_config, split, split_seed)
    if precision != trained.precision:
        notes.append(f"measured in {precision}, but trained and tested in {trained.precision}, which needs a GPU")
    return Evaluation(target, name, split, data.classes, trained.seed, tuple(notes), measured)


def check_classes(trained: tuple[str, ...], given: tuple[str, ...], name: str) -> None:
    """InvalidRequest if the data ``name`` have other classes than those ``trained``, or the same in another order."""
    if len(trained) != len(given):
        why = f"has {len(given)} classes, but the network tells {len(trained)} apart"
        raise InvalidRequest(f"data: {name!r} {why}; give data of the same classes")
    for index, (expected, other) in enumerate(zip(trained, given, strict=True)):
        if expected != other:
            why = f"is {other!r}, but {expected!r} in the network's training"
            remedy = "give data of the same classes in the same order"
            raise InvalidRequest(f"data: class {index} of {name!r} {why}; {remedy}")


def write_evaluation(evaluation: Evaluation, out: Path, *, overwrite: bool = False) -> None:
    """Leave evaluation.json, confusion_matrix.csv and evaluation.png in ``out``."""
    ClaimedFolder(out, EVALUATION).claim(overwrite=overwrite)
    matrix = pd.DataFrame(evaluation.measured.confusion, evaluation.classes, evaluation.classes)
    write_text(out / MATRIX, matrix.to_csv(index_label="label \\ predicted", lineterminator="\n"))
    plot_evaluation(evaluation.measured, evaluation.classes, f"{evaluation.data}, {evaluation.split}", out / PICTURE)
    write_json(out / RESULT, evaluation.as_dict())


def _notes(trained: TrainedNetwork, data: DataOptions, split: Split, split_seed: int) -> list[str]:
    before = trained.data
    shares = ("validation", "test", "max_train_images", "on_corrupt")
    if data.name != before.name and Path(data.name).expanduser().resolve() != Path(before.name):
        return []
    if split_seed != trained.split_seed or any(getattr(data, name) != getattr(before, name) for name in shares):
        return ["split differently than for the training; its training images may be among these"]
    if split == "train" or (split == "validation" and trained.trained_on == "train+validation"):
        return ["the network was trained on these images"]
    return []


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 7)


def plot_evaluation(measured: Measurement, classes: tuple[str, ...], title: str, path: Path) -> None:
    """Confusion matrix (shares of a row in colour) beside the reliability diagram with the images of each bin (PNG)."""
    # a row of at least 0.13 inches holds a name of 5.5 points
    side = min(max(3.6, 0.13 * len(classes)), 14.0)
    width, height = side + 8.0, side + 2.1
    # a layout engine would take seconds for hundreds of names
    with figure(path, width, height, layout=None) as drawing:

        def axes(left: float, bottom: float, wide: float, high: float) -> Axes:
            """At a place in inches."""
            return drawing.add_axes((left / width, bottom / height, wide / width, high / height))

        bar = axes(side + 1.75, 1.5, 0.15, min(side, 3.6))
        _confusion(axes(1.6, 1.5, side, side), bar, measured, classes)
        right, top = side + 3.4, side + 1.5
        _reliability(axes(right, top - 2.6, 4.3, 2.6), axes(right, top - 3.6, 4.3, 0.8), measured)
        text = f"{printable(title)}: {measured.images:,} images, top-1 {measured.top1:.2%}"
        drawing.suptitle(text, y=1 - 0.15 / height, va="top")


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
        names = [name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…" for name in map(printable, classes)]
        places = range(len(classes))
        axes.set_xticks(places, names, rotation=90, fontsize=size)
        axes.set_yticks(places, names, fontsize=size)
        axes.tick_params(length=2)
    if len(classes) <= _NUMBERED:
        for row, column in zip(*np.nonzero(table), strict=True):
            colour = "white" if shares[row, column] > 0.3 else "black"
            axes.text(column, row, f"{table[row, column]}", ha="center", va="center", fontsize=6.5, color=colour)


def _reliability(upper: Axes, lower: Axes, measured: Measurement) -> None:
    used = [part for part in measured.bins if part.accuracy is not None and part.confidence is not None]
    lows, width = np.array([part.low for part in used]), 1 / BINS
    accuracies = [100 * (part.accuracy or 0.0) for part in used]
    confidences = [100 * (part.confidence or 0.0) for part in used]
    upper.bar(lows, accuracies, width, align="edge", color="C0", edgecolor="white", label="accuracy")
    upper.scatter(lows + width / 2, confidences, marker="_", s=60, color="C3", label="mean confidence")
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
