"""The command ``sepnas search``."""

from __future__ import annotations

from pathlib import Path

from experiments.commands.config_options import config_and_options
from experiments.options.parsing import quiet
from search_space.base.errors import InvalidRequest


def main(arguments: list[str]) -> None:
    config, options = config_and_options(
        arguments,
        "search",
        "Search a network within a budget. Leaves the winner in OUT/winner.json. Options override CONFIG."
        " `--search.preset NAME` and `--retrain.recipe.preset NAME` set a whole recipe of `sepnas list recipes`;"
        " options behind them override it.",
    )
    if options.out is None:
        raise InvalidRequest("--out: missing; name the folder that the run shall be written to")
    quiet()
    from evaluators.training.processes import check_alone
    from experiments.search.search import search

    check_alone("search")
    search(config, Path(options.out), resume=options.resume, overwrite=options.overwrite)
