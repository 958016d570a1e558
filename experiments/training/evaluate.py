"""``sepnas evaluate``: a trained network on one split, class by class."""

from __future__ import annotations

import copy
import csv
import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from evaluators.data.loaders import make_loader
from evaluators.data.options import DataOptions
from evaluators.measuring.measurement import BINS, NORM, TOP, Measurement, measure_accuracy
from evaluators.training.devices import pick_accelerator
from evaluators.training.loaders import check_input
from evaluators.training.recipes import Precision
from evaluators.training.run import Accelerator
from experiments.runs.claimed_folder import ClaimedFolder, FolderKind
from experiments.runs.files import write_json, write_text
from experiments.runs.task import DataTask
from experiments.tables import table
from experiments.training.evaluation_plot import plot_evaluation
from experiments.training.trained import TrainedNetwork
from search_space.base.checks import check_seed
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
            f"{self.target}, seed {self.seed}, on {self.split} of {self.data}: {m.images:,} images,"
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
        m = self.measured
        counts = m.confusion.sum(axis=1)
        order = list(range(len(self.classes)))
        title = "accuracy by class"
        if len(order) > _SHOWN:
            order = [index for index in order if m.per_class[index] is not None]
            order = sorted(order, key=lambda index: m.per_class[index] or 0.0)[:_SHOWN]
            title = f"accuracy of the {len(order)} worst classes"
        rows = []
        for index in order:
            share = m.per_class[index]
            shown = "no image" if share is None else f"{share:.2%}"
            rows.append((self.classes[index], shown, f"{counts[index]:,}", self._mistaken(index)))
        return [title, table(rows, ("class", "accuracy", "images", "most often mistaken for"), right=(1, 2))]

    def _mistaken(self, index: int) -> str:
        row = self.measured.confusion[index].copy()
        row[index] = 0
        other = int(row.argmax())
        return f"{self.classes[other]} ({row[other]:,})" if row[other] else ""


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
    check_classes(trained.classes, task.classes, data_config.name)
    architecture = load_architecture(trained.architecture)
    check_input(architecture, data_config.name, data_config.image_size, task.channels, len(task.classes))
    network = build(architecture)
    load_weights(network, trained.weights)
    data = task.data
    images = {"train": lambda: data.train, "validation": lambda: data.validation, "test": lambda: data.test}[split]()
    like_training = copy.copy(data)
    like_training.mean, like_training.std = trained.mean, trained.std
    loader = make_loader(images, like_training, _BATCH, shuffle=False, device=device)
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
        raise InvalidRequest(
            f"data: {name!r} has {len(given)} classes, but the network tells {len(trained)} apart; give data of the"
            " same classes"
        )
    for index, (expected, other) in enumerate(zip(trained, given, strict=True)):
        if expected != other:
            raise InvalidRequest(
                f"data: class {index} of {name!r} is {other!r}, but {expected!r} in the network's training; give data"
                " of the same classes in the same order"
            )


def write_evaluation(evaluation: Evaluation, out: Path, *, overwrite: bool = False) -> None:
    """Leave evaluation.json, confusion_matrix.csv and evaluation.png in ``out`` (see `check_out_folder`)."""
    ClaimedFolder(out, EVALUATION).claim(overwrite=overwrite)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label \\ predicted", *evaluation.classes])
    for name, row in zip(evaluation.classes, evaluation.measured.confusion.tolist(), strict=True):
        writer.writerow([name, *row])
    write_text(out / MATRIX, text.getvalue())
    plot_evaluation(evaluation.measured, evaluation.classes, f"{evaluation.data}, {evaluation.split}", out / PICTURE)
    write_json(out / RESULT, evaluation.as_dict())


def check_out_folder(out: Path, *, overwrite: bool) -> None:
    """InvalidRequest if the files of an evaluation cannot be written to ``out``, or are there already."""
    ClaimedFolder(out, EVALUATION).check(overwrite=overwrite)


def _notes(trained: TrainedNetwork, data: DataOptions, split: Split, split_seed: int) -> list[str]:
    before = trained.data
    shares = ("validation", "test", "max_train_images", "on_corrupt")
    if data.name != before.name and Path(data.name).expanduser().resolve() != Path(before.name):
        return []
    if split_seed != trained.split_seed or any(getattr(data, name) != getattr(before, name) for name in shares):
        return ["split another way than for the training; its own training images may be among these"]
    if split == "train" or (split == "validation" and trained.trained_on == "train+validation"):
        return ["the network was trained on these images"]
    return []


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 7)
