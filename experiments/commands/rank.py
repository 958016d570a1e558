"""The command ``sepnas rank``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evaluators.training.recipes import Recipe
from evaluators.training.run import Accelerator
from experiments.options.files import read_config
from experiments.options.parsing import Command, Namespace, Parser, quiet


@dataclass(frozen=True)
class Options:
    """Options of a ranking.

    Attributes:
        recipe: of each training; by default that of the run's retraining.
        seeds: trainings of each architecture; the second is the noise ceiling.
        n: architectures, spread over the MACs inside the budget.
        accelerator: auto takes the GPU where there is one.
    """

    recipe: Recipe = field(default_factory=Recipe)
    seeds: list[int] = field(default_factory=lambda: [0, 1])
    n: int = 30
    accelerator: Accelerator = "auto"


def _add_options(parser: Parser) -> None:
    parser.add_argument("run", help="folder of a run with a trained supernet")
    parser.add_argument("--out", help="folder for the results (default: RUN/rank)")
    parser.add_argument("--overwrite", action="store_true", help="delete results made another way")
    parser.add_class(Options, "settings")


def _defaults(options: Namespace) -> Mapping[str, Any]:
    from experiments.runs.folder import find_run

    base = read_config(find_run(Path(options.run)).config)
    return {"settings": Options(recipe=base.retrain.recipe, accelerator=base.accelerator)}


def _run(options: Namespace) -> None:
    from experiments.runs.folder import find_run

    run, settings = find_run(Path(options.run)), options.settings
    quiet()
    from evaluators.training.processes import check_alone
    from experiments.rank.rank import rank

    check_alone("rank")
    folder = Path(options.out) if options.out is not None else run.rank
    rank(
        run,
        replace(read_config(run.config), accelerator=settings.accelerator),
        n=settings.n,
        seeds=settings.seeds,
        recipe=settings.recipe,
        folder=folder,
        overwrite=options.overwrite,
    )
    print((folder / "rank.md").read_text(encoding="utf-8"))
    print(f"report: {folder}")


COMMAND = Command(
    "use what was trained",
    "measure how well a run's supernet ranks architectures",
    _add_options,
    _run,
    details="Trains N architectures on their own and reports Kendall's tau between their accuracies and the supernet's."
    " A call that was killed continues where it stopped; nothing is trained twice.",
    defaults=_defaults,
)
