"""The command ``sepnas evaluate``."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser

from evaluators.data.options import DataOptions
from evaluators.training.run import Accelerator
from experiments.options.files import flat
from experiments.options.parsing import as_given, new_parser, parse, quiet


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


def main(arguments: list[str]) -> None:
    def parser(values: dict[str, Any]) -> ArgumentParser:
        made = new_parser(
            "evaluate",
            "Measure a trained network on a split: top-1, top-5 and per-class accuracy, confusion matrix, calibration"
            " error. Images are, unless told otherwise, those it was trained with, split as they were then.",
        )
        made.add_argument(
            "target",
            type=str,
            help="folder of a run (its retrained winner), of `sepnas retrain --out` or of `sepnas export`",
        )
        made.add_argument("--seed", type=int, help="which of the trainings to take; the first by default")
        made.add_argument("--json", action="store_true", help="print JSON")
        made.add_argument("--out", type=str, help="folder for evaluation.json, confusion_matrix.csv, evaluation.png")
        made.add_argument("--overwrite", action="store_true", help="replace those files in OUT")
        made.add_class_arguments(Options)
        made.set_defaults(values)
        return made

    first = as_given(parser({}), arguments)
    quiet()
    from evaluators.training.processes import check_alone
    from experiments.training.evaluate import check_out_folder, evaluate, write_evaluation
    from experiments.training.trained import find_trained

    check_alone("evaluate")
    trained = find_trained(Path(first.target), first.seed)
    values = {**flat(trained.data, "data."), "split_seed": trained.split_seed}
    options = parse(parser(values), arguments)
    if options.out is not None:
        check_out_folder(Path(options.out), overwrite=options.overwrite)
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        evaluation = evaluate(
            trained,
            options.target,
            options.data,
            split=options.split,
            split_seed=options.split_seed,
            accelerator=options.accelerator,
        )
    print(json.dumps(evaluation.as_dict(), indent=2) if options.json else evaluation)
    if options.out is not None:
        write_evaluation(evaluation, Path(options.out), overwrite=options.overwrite)
