"""The commands ``sepnas rank`` and ``sepnas tabulate``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluators.training.recipes import Recipe
from experiments.commands.search import add_config, config_defaults
from experiments.options.config import ENGINE_OPTIONS, SearchConfig
from experiments.options.files import read_config, self_contained
from experiments.options.parsing import Command, Namespace, Parser
from search_space.base.checks import option
from search_space.base.errors import InvalidRequest


@dataclass(frozen=True)
class Options:
    """Options of a ranking.

    Attributes:
        recipe: of each training; by default that of the run's retraining.
        seeds: trainings of each architecture; the second is the noise ceiling.
        n: architectures, spread over the MACs inside the budget.
    """

    recipe: Recipe = field(default_factory=Recipe)
    seeds: list[int] = field(default_factory=lambda: [0, 1])
    n: int = 30


def _add_options(parser: Parser) -> None:
    parser.add_argument("run", help="folder of a run with a trained supernet, or with scores of trainings")
    parser.add_argument("--out", help="folder for the results (default: RUN/rank)")
    parser.add_argument("--overwrite", action="store_true", help="delete results made differently")
    parser.add_argument(
        "--against", help="folder of `sepnas tabulate`: judge by its architectures and trainings, and train nothing"
    )
    parser.add_class(Options, "settings")
    parser.add_class(SearchConfig, "config", only=("accelerator", *ENGINE_OPTIONS))


def _defaults(options: Namespace) -> Mapping[str, Any]:
    from experiments.runs.folder import find_run

    base = read_config(find_run(Path(options.run)).config)
    return {"settings": Options(recipe=base.retrain.recipe), "config": base}


def _run(options: Namespace) -> None:
    from experiments.runs.folder import find_run

    run, settings = find_run(Path(options.run)), options.settings
    sample = {name: getattr(settings, name) for name in ("n", "seeds", "recipe")}
    usual, against = _defaults(options)["settings"], options.against
    for name, value in sample.items():
        if against is not None and value != getattr(usual, name):
            raise InvalidRequest(f"--{name}: has no effect beside --against, which has its own; leave one out")
    from experiments.rank.rank import rank

    folder = Path(options.out) if options.out is not None else run.rank
    rank(
        run,
        options.config,
        **sample,
        against=None if against is None else Path(against),
        folder=folder,
        overwrite=options.overwrite,
    )
    print((folder / "rank.md").read_text(encoding="utf-8"))
    print(f"report: {folder}")


@dataclass(frozen=True)
class Sample:
    """How many trainings a table has.

    Attributes:
        n: architectures, drawn uniformly from what is searched.
        seeds: trainings of each of these architectures.
    """

    n: int = option(100, least=1)
    seeds: list[int] = field(default_factory=lambda: [0])


def _add_table_options(parser: Parser) -> None:
    parser.add_argument("--out", required=True, help="folder of the table; what it already has is not trained again")
    parser.add_argument("--overwrite", action="store_true", help="delete a table made differently")
    parser.add_class(Sample, "sample")
    add_config(parser)


def _tabulate(options: Namespace) -> None:
    config, folder = self_contained(options.settings), Path(options.out)
    from experiments.rank.table import summary, tabulate

    table = tabulate(config, folder, n=options.sample.n, seeds=options.sample.seeds, overwrite=options.overwrite)
    print(summary(table))
    print(f"table: {folder}")


RANK = Command(
    "use what was trained",
    "measure how well a run's supernet, or a model of its scores, ranks architectures",
    _add_options,
    _run,
    details="Trains N architectures on their own, or takes those of a table, and reports Kendall's tau between their"
    " accuracies and what the run predicts. A call that was killed continues where it stopped; nothing is trained"
    " twice.",
    defaults=_defaults,
    alone=True,
)
TABULATE = Command(
    "use what was trained",
    "train a sample of architectures, as a table to judge searches by",
    _add_table_options,
    _tabulate,
    details="Trains by the config's retrain.recipe and measures on validation images. More architectures or seeds"
    " are added to what OUT holds.",
    defaults=config_defaults,
    alone=True,
)
