"""The sub-commands: a module each, or one for those that share their options.

Each imports what does the work when it runs: parsing and help need no torch.
"""

from __future__ import annotations

from experiments.commands import (
    bench,
    compare,
    demo,
    evaluate,
    export,
    latency,
    listing,
    networks,
    pareto,
    rank,
    retrain,
    search,
)
from experiments.options.parsing import Command

COMMANDS: dict[str, Command] = {
    "demo": demo.COMMAND,
    "search": search.SEARCH,
    "retrain": retrain.COMMAND,
    "compare": compare.COMMAND,
    "export": export.COMMAND,
    "evaluate": evaluate.COMMAND,
    "pareto": pareto.COMMAND,
    "rank": rank.RANK,
    "tabulate": rank.TABULATE,
    "cost": networks.COST,
    "describe": networks.DESCRIBE,
    "latency": latency.COMMAND,
    "space": search.SPACE,
    "list": listing.COMMAND,
    "bench": bench.COMMAND,
}
