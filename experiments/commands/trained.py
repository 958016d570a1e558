"""The commands that use what was trained: ``sepnas evaluate`` and ``pareto``."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evaluators.data.options import DataOptions
from evaluators.training.run import Accelerator
from experiments.options.files import read_config
from experiments.options.parsing import Command, Namespace, Parser
from search_space.base.errors import InvalidRequest


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


def _add_evaluate(parser: Parser) -> None:
    parser.add_argument(
        "target", help="folder of a run (its retrained winner), of `sepnas retrain --out` or of `sepnas export`"
    )
    parser.add_argument("--seed", type=int, help="which training to use, by its seed; the first by default")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", help="folder for evaluation.json, confusion_matrix.csv, evaluation.png")
    parser.add_argument("--overwrite", action="store_true", help="replace those files in OUT")
    parser.add_class(Options, "settings")


def _defaults(options: Namespace) -> Mapping[str, Any]:
    from experiments.training.trained import find_trained

    trained = find_trained(Path(options.target), options.seed)
    return {"settings": Options(trained.data, split_seed=trained.split_seed)}


def _evaluate(options: Namespace) -> None:
    from experiments.runs.claimed_folder import ClaimedFolder
    from experiments.training.evaluate import EVALUATION, evaluate, write_evaluation
    from experiments.training.trained import find_trained

    trained, settings = find_trained(Path(options.target), options.seed), options.settings
    if options.out is not None:
        ClaimedFolder(Path(options.out), EVALUATION).check(overwrite=options.overwrite)
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        chosen = {name: getattr(settings, name) for name in ("split", "split_seed", "accelerator")}
        evaluation = evaluate(trained, options.target, settings.data, **chosen)
    print(json.dumps(evaluation.as_dict(), indent=2) if options.json else evaluation)
    if options.out is not None:
        write_evaluation(evaluation, Path(options.out), overwrite=options.overwrite)


EVALUATE = Command(
    "use what was trained",
    "accuracy, confusion and calibration of a trained network on a split",
    _add_evaluate,
    _evaluate,
    details="Measures top-1, top-5 and per-class accuracy, confusion matrix and calibration error. Images are, unless"
    " given, those it was trained with, split as they were then.",
    defaults=_defaults,
    alone=True,
)


def _add_pareto(parser: Parser) -> None:
    parser.add_argument("run", help="folder of a run")
    parser.add_argument(
        "--pick",
        action="append",
        help="choose the most accurate of at most this many MACs, such as 16.7M, or of another objective, such as"
        " params:1.2M; given several times, all must hold",
    )
    parser.add_argument("--to", help="architecture file (JSON) for what is picked")
    parser.add_argument(
        "--objectives", help="costs to minimise, separated by commas (default: the run's; else macs,params)"
    )


def _pareto(options: Namespace) -> None:
    if options.to is not None and not options.pick:
        raise InvalidRequest("--to: nothing is picked; say what it may cost, such as --pick 16.7M")
    from experiments.runs.claimed_folder import check_writable
    from experiments.runs.files import sweep
    from experiments.runs.folder import find_run
    from experiments.search.pareto import front_table, pick, run_front, write_pareto
    from search_space.serialization import save_architecture

    if options.to is not None:
        check_writable("to", Path(options.to).parent)
        if Path(options.to).is_dir():
            raise InvalidRequest(f"--to: {options.to} is a folder; give a file")
    run = find_run(Path(options.run))
    config = read_config(run.config)
    objectives = None if options.objectives is None else [name.strip() for name in options.objectives.split(",")]
    front = run_front(run, config, objectives)
    picked = pick(front, options.pick) if options.pick else None
    sweep(run.path)
    write_pareto(front, config.budget, run.path)
    print(front_table(front, picked))
    if picked is not None:
        print(picked.architecture)
        if options.to is not None:
            Path(options.to).parent.mkdir(parents=True, exist_ok=True)
            sweep(Path(options.to).parent)
            save_architecture(picked.architecture, Path(options.to))


PARETO = Command(
    "use what was trained",
    "the Pareto set of a run, and picking from it",
    _add_pareto,
    _pareto,
    details="It is that of all architectures that the run has scored, by a strategy that measures the accuracy of each"
    " in the same way: nsga2, evolution and others, not halving and one-shot ones. Prints it, writes pareto.csv,"
    " hypervolume.csv and pareto.png to RUN, and picks from it.",
)
