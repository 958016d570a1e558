"""The command ``sepnas retrain``: of a run, by its config, of an architecture file or of a baseline."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from evaluators.data.options import DataOptions
from experiments.commands.accelerator_option import add_accelerator
from experiments.options.config import RetrainConfig, SearchConfig
from experiments.options.files import flat, read_config, self_contained
from experiments.options.parsing import as_given, new_parser, parse, quiet, spelled_out
from search_space.base.errors import InvalidRequest


def main(arguments: list[str]) -> None:
    def parser(values: dict[str, Any]) -> ArgumentParser:
        made = new_parser(
            "retrain",
            "Train the winner of a run, the architecture of a file or a hand-designed network from scratch and test it."
            " For a run the defaults are those of its config, and results go to RUN/retrain. `--recipe.preset NAME`"
            " sets a whole recipe of `sepnas list recipes`; options behind it override it.",
        )
        made.add_argument(
            "target",
            type=str,
            help="folder of a run, architecture file (JSON), or name of a baseline (`sepnas list baselines`)",
        )
        made.add_argument("--out", type=str, help="folder for the results (required unless TARGET is a run)")
        made.add_argument("--width", type=float, help="channel multiplier of a baseline (default: 1.0)")
        made.add_argument("--overwrite", action="store_true", help="delete results made another way")
        made.add_class_arguments(DataOptions, "data")
        made.add_class_arguments(RetrainConfig)
        made.add_argument("--seed", type=int, default=0, help="of the data's splits")
        add_accelerator(made)
        made.set_defaults(values)
        return made

    arguments = list(spelled_out(arguments, ("recipe",)))
    given = as_given(parser({}), arguments)
    target = Path(given.target)
    from experiments.runs.folder import find_run
    from search_space.hand_designed import baselines

    if not target.exists() and given.target not in baselines():
        raise InvalidRequest(
            f"target: {target} does not exist; give the folder of a run, an architecture file, or the name of a"
            " baseline (`sepnas list baselines`)"
        )
    if given.width is not None and target.exists():
        raise InvalidRequest("--width: an architecture has its channels fixed; leave it out")

    values: dict[str, Any] = {}
    run = None
    if target.is_dir():
        run = find_run(target)
        base = read_config(run.config)
        values = {
            **flat(base.data, "data."),
            **flat(base.retrain),
            "seed": base.seed,
            "accelerator": base.accelerator,
        }
    else:
        base = SearchConfig()
    options = parse(parser(values), arguments)
    config = self_contained(
        replace(
            base,
            data=options.data,
            retrain=RetrainConfig(**{own.name: getattr(options, own.name) for own in fields(RetrainConfig)}),
            seed=options.seed,
            accelerator=options.accelerator,
        )
    )
    quiet()
    from evaluators.training.processes import is_first
    from experiments.training.targets import retrain_baseline, retrain_file, retrain_winner

    if run is not None:
        folder = Path(options.out) if options.out is not None else None
        result = retrain_winner(run, config, folder=folder, overwrite=options.overwrite)
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
