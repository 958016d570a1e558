"""The command ``sepnas retrain``: of a run, by its config, of an architecture file or of a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluators.data.options import DataOptions
from experiments.options.config import RetrainConfig, SearchConfig
from experiments.options.files import read_config, self_contained
from experiments.options.parsing import Command, Namespace, Parser, add_accelerator, quiet
from search_space.base.checks import nearest, refusal
from search_space.base.errors import InvalidRequest


def _add_options(parser: Parser) -> None:
    parser.add_argument(
        "target", help="folder of a run, architecture file (JSON), or name of a baseline (`sepnas list baselines`)"
    )
    parser.add_argument("--out", help="folder for the results (required unless TARGET is a run)")
    parser.add_argument("--width", type=float, help="channel multiplier of a baseline (default: 1.0)")
    parser.add_argument("--overwrite", action="store_true", help="delete results made another way")
    parser.add_class(RetrainConfig, "retrain")
    parser.add_argument("--seed", type=int, default=0, help="of the data's splits (default: 0)")
    add_accelerator(parser)
    parser.add_class(DataOptions, "data", "data.")


def _defaults(options: Namespace) -> Mapping[str, Any]:
    target = Path(options.target)
    from search_space.hand_designed import baselines

    if not target.exists() and options.target not in baselines():
        raise refusal(
            "target",
            options.target,
            "does not exist",
            "give the folder of a run, an architecture file, or the name of a baseline: "
            + nearest(options.target, baselines(), "sepnas list baselines"),
        )
    if options.width is not None and target.exists():
        raise InvalidRequest("--width: an architecture has its channels fixed; leave it out")
    base = _base(target)
    return {"data": base.data, "retrain": base.retrain, "seed": base.seed, "accelerator": base.accelerator}


def _base(target: Path) -> SearchConfig:
    """The config of a run; the default one of anything else."""
    from experiments.runs.folder import find_run

    return read_config(find_run(target).config) if target.is_dir() else SearchConfig()


def _run(options: Namespace) -> None:
    target = Path(options.target)
    config = self_contained(
        replace(
            _base(target),
            data=options.data,
            retrain=options.retrain,
            seed=options.seed,
            accelerator=options.accelerator,
        )
    )
    quiet()
    from evaluators.training.processes import is_first
    from experiments.runs.folder import find_run
    from experiments.training.targets import retrain_baseline, retrain_file, retrain_winner

    if target.is_dir():
        folder = Path(options.out) if options.out is not None else None
        result = retrain_winner(find_run(target), config, folder=folder, overwrite=options.overwrite)
    else:
        if options.out is None:
            raise InvalidRequest("--out: missing; name the folder for the results")
        out = Path(options.out)
        if target.exists():
            result = retrain_file(target, config, out, overwrite=options.overwrite)
        else:
            width = {} if options.width is None else {"width": options.width}
            result = retrain_baseline(options.target, config, out, overwrite=options.overwrite, **width)
    if is_first():
        print(result)


COMMAND = Command(
    "find and train networks",
    "train a winner, an architecture file or a baseline from scratch and test it",
    _add_options,
    _run,
    details="For a run the defaults are those of its config, and results go to RUN/retrain.",
    defaults=_defaults,
)
