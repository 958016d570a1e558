"""The sub-commands: a module each, with their options and which function of the package does the work.

Each module imports what does the work when it runs: parsing and help need no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from experiments.commands import (
    bench,
    compare,
    cost,
    demo,
    describe,
    evaluate,
    export,
    latency,
    listing,
    pareto,
    rank,
    retrain,
    search,
    space,
)
from experiments.listing import LISTINGS


@dataclass(frozen=True)
class Command:
    """A sub-command: one line on it, and the function that gets its arguments."""

    summary: str
    run: Callable[[list[str]], None]


COMMANDS: dict[str, Command] = {
    "demo": Command("the whole job on embedded images, in minutes", demo.main),
    "search": Command("search a network within a budget", search.main),
    "retrain": Command("train a winner or an architecture file from scratch, several seeds", retrain.main),
    "export": Command("write the winner as files that need no NNI", export.main),
    "compare": Command("table and plot of winners against hand-designed baselines", compare.main),
    "pareto": Command("the Pareto set of a run, and picking from it", pareto.main),
    "rank": Command("judge a run's supernet: does it rank architectures as their own trainings do?", rank.main),
    "evaluate": Command("accuracy, confusion and calibration of a trained network on a split", evaluate.main),
    "latency": Command("time of a network, or a table of times to search under", latency.main),
    "cost": Command("MACs and parameters of a network", cost.main),
    "describe": Command("a network as a table, block by block", describe.main),
    "space": Command("size and reachable costs of a search space, and the share inside a budget", space.main),
    "list": Command(f"names of {', '.join(LISTINGS)}", listing.main),
    "bench": Command("measure speed on this machine", bench.main),
}
