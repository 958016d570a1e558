"""The command ``sepnas evaluate``."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evaluators.data.options import DataOptions
from evaluators.training.run import Accelerator
from experiments.options.parsing import Command, Namespace, Parser, quiet

if TYPE_CHECKING:
    from experiments.training.trained import TrainedNetwork


@dataclass(frozen=True)
class Options:
    """Options of evaluation.

    Attributes:
        data: images.
        split: which of their splits.
        split_seed: seed of the splits, where the data bring none.
        accelerator: auto takes the GPU where there is one.
    """

    data: DataOptions
    split: Literal["test", "validation", "train"] = "test"
    split_seed: int = 0
    accelerator: Accelerator = "auto"


def _add_options(parser: Parser) -> None:
    parser.add_argument(
        "target", help="folder of a run (its retrained winner), of `sepnas retrain --out` or of `sepnas export`"
    )
    parser.add_argument("--seed", type=int, help="which of the trainings to take; the first by default")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", help="folder for evaluation.json, confusion_matrix.csv, evaluation.png")
    parser.add_argument("--overwrite", action="store_true", help="replace those files in OUT")
    parser.add_class(Options, "settings")


def _trained(options: Namespace) -> TrainedNetwork:
    quiet()
    from evaluators.training.processes import check_alone
    from experiments.training.trained import find_trained

    check_alone("evaluate")
    return find_trained(Path(options.target), options.seed)


def _defaults(options: Namespace) -> Mapping[str, Any]:
    trained = _trained(options)
    return {"settings": Options(trained.data, split_seed=trained.split_seed)}


def _run(options: Namespace) -> None:
    trained, settings = _trained(options), options.settings
    from experiments.training.evaluate import check_out_folder, evaluate, write_evaluation

    if options.out is not None:
        check_out_folder(Path(options.out), overwrite=options.overwrite)
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        evaluation = evaluate(
            trained,
            options.target,
            settings.data,
            split=settings.split,
            split_seed=settings.split_seed,
            accelerator=settings.accelerator,
        )
    print(json.dumps(evaluation.as_dict(), indent=2) if options.json else evaluation)
    if options.out is not None:
        write_evaluation(evaluation, Path(options.out), overwrite=options.overwrite)


COMMAND = Command(
    "use what was trained",
    "accuracy, confusion and calibration of a trained network on a split",
    _add_options,
    _run,
    details="Measures top-1, top-5 and per-class accuracy, confusion matrix and calibration error. Images are, unless"
    " given, those it was trained with, split as they were then.",
    defaults=_defaults,
)
