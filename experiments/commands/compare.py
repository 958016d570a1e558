"""The command ``sepnas compare``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluators.latency.names import BACKENDS
from experiments.options.config import DEFAULT_BASELINES, ENGINE_OPTIONS, SearchConfig
from experiments.options.files import read_config
from experiments.options.parsing import Command, Namespace, Parser
from search_space.base.errors import InvalidRequest


def _add_options(parser: Parser) -> None:
    parser.add_argument(
        "runs", nargs="+", help="folders of finished searches on the same data, or of `sepnas retrain --out`"
    )
    parser.add_argument(
        "--baselines",
        help="networks to compare with, separated by commas: NAME of `sepnas list baselines` or `sepnas list zoo`,"
        " NAME@fit for its widest form inside the budget, random:K for K random networks that use at least nine tenths"
        " of it, module:callable for a model of your own, called with those of in_channels, classes and image_size that"
        f" it accepts (default, beside a search: {','.join(DEFAULT_BASELINES)})",
    )
    parser.add_argument(
        "--pareto",
        type=int,
        default=0,
        help="how many networks of each search's Pareto set to add (see `sepnas pareto`; default: none)",
    )
    parser.add_argument(
        "--reference",
        help="network that all others are compared with, by its name in the table, in --baselines or of its folder"
        " (default: the first winner)",
    )
    parser.add_argument(
        "--latency",
        choices=BACKENDS,
        help="also time a forward pass of each network, on one thread (takes seconds for each)",
    )
    parser.add_argument(
        "--out", help="folder for the report (default: RUN/report of the first search; required without one)"
    )
    parser.add_argument("--title", help="name of the data in table and plot (default: as in the config)")
    parser.add_argument("--overwrite", action="store_true", help="delete training results that were made differently")
    parser.add_class(SearchConfig, "config", only=ENGINE_OPTIONS)


def _defaults(options: Namespace) -> Mapping[str, Any]:
    """What the trainings run on is as the first search says."""
    from experiments.runs.folder import RunFolder

    configs = [RunFolder(Path(run)).config for run in options.runs]
    return {"config": next((read_config(path) for path in configs if path.is_file()), SearchConfig())}


def _run(options: Namespace) -> None:
    from experiments.runs.folder import different_folders, find_run

    folders = different_folders(options.runs)
    from evaluators.latency.backends import make_backend
    from experiments.comparison.compare import compare
    from experiments.training.retrain import ABOUT_FILE

    trained = [folder for folder in folders if (folder / ABOUT_FILE).is_file()]
    runs = [find_run(folder) for folder in folders if folder not in trained]
    if options.out is None and not runs:
        raise InvalidRequest("--out: missing; without a search, name a folder for the report")
    out = Path(options.out) if options.out is not None else runs[0].report
    engine = {name: getattr(options.config, name) for name in ENGINE_OPTIONS}
    names = (",".join(DEFAULT_BASELINES) if runs else "") if options.baselines is None else options.baselines
    compare(
        runs,
        [replace(read_config(run.config), **engine) for run in runs],
        [name.strip() for name in names.split(",") if name.strip()],
        out,
        trained=trained,
        pareto=options.pareto,
        reference=options.reference,
        latency=make_backend(options.latency) if options.latency is not None else None,
        title=options.title,
        overwrite=options.overwrite,
    )
    print((out / "comparison.md").read_text(encoding="utf-8"))
    print(f"report: {out}; open {out / 'index.html'}")


COMMAND = Command(
    "find and train networks",
    "table and page of winners beside hand-designed and random networks",
    _add_options,
    _run,
    details="Trains them by the same recipe and seeds (skipping those already trained), and writes comparison.csv,"
    " comparison.md, comparison.tex and index.html, a page with figures. Networks that `sepnas retrain --out` trained"
    " the same way join the table; without a search it holds only those.",
    defaults=_defaults,
    alone=True,
)
