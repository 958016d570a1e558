"""The sub-commands: a module each, or one for those that share their options.

Each imports what does the work when it runs: parsing and help need no torch.
"""

from __future__ import annotations

from experiments.commands import (
    analyse,
    attribute,
    bundle,
    compare,
    convert,
    demo,
    generate,
    listing,
    networks,
    rank,
    report,
    reproduce,
    retrain,
    search,
    timing,
    trained,
)
from experiments.options.parsing import Command

COMMANDS: dict[str, Command] = {
    "demo": demo.COMMAND,
    "search": search.SEARCH,
    "retrain": retrain.COMMAND,
    "compare": compare.COMMAND,
    "attribute": attribute.COMMAND,
    "reproduce": reproduce.COMMAND,
    "generate": generate.COMMAND,
    "export": bundle.EXPORT,
    "predict": bundle.PREDICT,
    "evaluate": trained.EVALUATE,
    "pareto": trained.PARETO,
    "report": report.COMMAND,
    "rank": rank.RANK,
    "tabulate": rank.TABULATE,
    "cost": networks.COST,
    "describe": networks.DESCRIBE,
    "latency": timing.LATENCY,
    "space": search.SPACE,
    "list": listing.COMMAND,
    "convert": convert.COMMAND,
    "analyse": analyse.COMMAND,
    "bench": timing.BENCH,
}
