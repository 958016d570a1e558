"""The command ``sepnas list``: what can be named in a config."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from typing import get_args

from evaluators.sources.find import DATASETS
from evaluators.training.presets import PRESETS as RECIPE_PRESETS
from experiments.options.config import AUTO, StrategyConfig
from experiments.options.parsing import Command, Parser
from experiments.options.values import options_of
from experiments.reproduce.tables import TABLES
from experiments.tables import table
from search_space.options import PRESETS
from strategies.options import SUPERNET_ONLY
from strategies.registry import STRATEGIES


def _operators() -> str:
    from search_space import operators

    rows = [(name, operator.scope, f"{operator.summary} [{operator.source}]") for name, operator in operators.items()]
    return table([*rows, ("skip", "block", "identity, where the shape is kept: depth is searched too")])


def _presets() -> str:
    from search_space import preset

    return table((name, f"{summary}:\n  {', '.join(preset(name))}") for name, summary in PRESETS.items())


def _macros() -> str:
    from search_space import cost, macro
    from search_space.macros import MACROS
    from strategies.budget.budget import format_count

    def describe(name: str) -> str:
        network = macro(name, image_size=224, classes=1000)
        macs, params = map(format_count, astuple(cost(network)))
        return f"{len(network.blocks)} blocks; at 224 pixels, 1000 classes {macs} MACs, {params} params"

    return table((name, describe(name)) for name in MACROS)


def _baselines() -> str:
    from search_space import baselines
    from search_space.families import families
    from search_space.families.family import OPERATORS

    rows = {**baselines(), **families(), "  OPERATOR": f"in place of the dense k x k convolutions: {OPERATORS}"}
    return table(rows.items())


def _zoo() -> str:
    from search_space import cost
    from search_space.found import found, zoo
    from strategies.budget.budget import format_count

    rows: list[tuple[str, str]] = []
    for name, summary in zoo().items():
        one = found(name)
        macs, params = map(format_count, astuple(cost(one.architecture)))
        rows += [(name, f"{summary}: {macs} MACs, {params} params")]
        rows += [("", command) for command in one.commands] + [("", f"table: {one.table}")]
    return table(rows)


def _strategies() -> str:
    rows: list[tuple[str, str]] = [(AUTO, options_of(StrategyConfig)["name"].help.partition(". auto ")[2])]
    for name, strategy in STRATEGIES.items():
        rows.append((name, strategy.summary))
        options = options_of(strategy.options)
        without = SUPERNET_ONLY if "scoring" in options and get_args(options["scoring"].type) == ("training",) else ()
        rows += [
            (f"  {option.name} = {option.default!r}", f"  {option.help}")
            for option in options.values()
            if option.name not in without
        ]
    return table(rows)


#: What can be listed -> the text: a row or more for each name.
LISTINGS: dict[str, Callable[[], str]] = {
    "operators": _operators,
    "presets": _presets,
    "macros": _macros,
    "baselines": _baselines,
    "zoo": _zoo,
    "strategies": _strategies,
    "recipes": lambda: table((name, preset.summary) for name, preset in RECIPE_PRESETS.items()),
    "datasets": lambda: table(DATASETS.items()),
    "tables": lambda: table(
        (name, f"{own.summary}; {len(own.rows)} rows, on {', '.join(own.settings)} [{own.source}]")
        for name, own in TABLES.items()
    ),
}


def _add_options(parser: Parser) -> None:
    parser.add_argument("what", choices=list(LISTINGS), help="what to list")


COMMAND = Command(
    "look at networks",
    f"names of {', '.join(LISTINGS)}",
    _add_options,
    lambda options: print(LISTINGS[options.what]()),
    details="Options and configs take these names.",
)
