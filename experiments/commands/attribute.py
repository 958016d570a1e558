"""The command ``sepnas attribute``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.options.config import ENGINE_OPTIONS, RetrainConfig, SearchConfig
from experiments.options.files import read_config
from experiments.options.parsing import Command, Namespace, Parser
from search_space.base.checks import check_choice


def _add_options(parser: Parser) -> None:
    parser.add_argument("run", help="folder of a finished search")
    parser.add_argument(
        "--swaps",
        default="blocks,families,all",
        help="which swaps: blocks (each alone), families (of operators, everywhere), all (every operator), separated by"
        " commas (default: %(default)s)",
    )
    parser.add_argument("--out", help="folder for the report (default: RUN/attribution)")
    parser.add_argument("--overwrite", action="store_true", help="delete training results that were made differently")
    parser.add_class(RetrainConfig, "retrain", only=("seeds",))
    parser.add_class(SearchConfig, "config", only=ENGINE_OPTIONS)


def _defaults(options: Namespace) -> Mapping[str, Any]:
    from experiments.runs.folder import find_run

    base = read_config(find_run(Path(options.run)).config)
    return {"retrain": base.retrain, "config": base}


def _run(options: Namespace) -> None:
    from experiments.attribution.attribute import attribute
    from experiments.attribution.report import PAGE
    from experiments.attribution.swaps import KINDS
    from experiments.runs.folder import find_run

    kinds = [check_choice("--swaps", name.strip(), KINDS) for name in options.swaps.split(",")]
    run = find_run(Path(options.run))
    config = replace(options.config, retrain=options.retrain)
    out = run.attribution if options.out is None else Path(options.out)
    attribute(run, config, out, kinds=kinds, overwrite=options.overwrite)
    print((out / PAGE).read_text(encoding="utf-8"))
    print(f"report: {out}")


COMMAND = Command(
    "find and train networks",
    "what the operators of a winner are worth over plain depthwise",
    _add_options,
    _run,
    details="Trains the winner with each block's operator, each family of operators and all of them swapped for plain"
    " depthwise convolutions at equal cost, by the same recipe and seeds (skipping what is trained), and ranks what"
    " they are worth, with 95 % intervals and p corrected for the number of comparisons.",
    defaults=_defaults,
    alone=True,
)
