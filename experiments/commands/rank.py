"""The command ``sepnas rank``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from evaluators.training.recipes import Recipe
from experiments.commands.accelerator_option import add_accelerator
from experiments.options.files import flat, read_config
from experiments.options.parsing import as_given, new_parser, parse, quiet, spelled_out


def main(arguments: list[str]) -> None:
    def parser(values: dict[str, Any]) -> ArgumentParser:
        made = new_parser(
            "rank",
            "Judge a run's supernet: train N architectures on their own and tell, by Kendall's tau, whether the"
            " supernet ranks them alike. The recipe's defaults are those of the run's retraining. A killed call goes on"
            " where it was; nothing is trained twice.",
        )
        made.add_argument("run", type=str, help="folder of a run with a trained supernet")
        made.add_argument("--out", type=str, help="folder for the results (default: RUN/rank)")
        made.add_argument("--overwrite", action="store_true", help="delete results made another way")
        made.add_class_arguments(Recipe, "recipe")
        made.add_argument(
            "--seeds",
            type=list[int],
            default=[0, 1],
            help="trainings of each architecture; the second is the noise ceiling",
        )
        made.add_argument("--n", type=int, default=30, help="architectures, spread over the MACs inside the budget")
        add_accelerator(made)
        made.set_defaults(values)
        return made

    arguments = list(spelled_out(arguments, ("recipe",)))
    from experiments.runs.folder import find_run

    run = find_run(Path(as_given(parser({}), arguments).run))
    base = read_config(run.config)
    values = {**flat(base.retrain.recipe, "recipe."), "accelerator": base.accelerator}
    options = parse(parser(values), arguments)
    quiet()
    from evaluators.training.processes import check_alone
    from experiments.rank.rank import rank

    check_alone("rank")
    folder = Path(options.out) if options.out is not None else run.rank
    rank(
        run,
        replace(base, accelerator=options.accelerator),
        n=options.n,
        seeds=options.seeds,
        recipe=options.recipe,
        folder=folder,
        overwrite=options.overwrite,
    )
    print((folder / "rank.md").read_text(encoding="utf-8"))
    print(f"report: {folder}")
