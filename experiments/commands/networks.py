"""The commands ``sepnas cost`` and ``sepnas describe``, and the options of all that look at one network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.options.parsing import Command, Namespace, Parser
from search_space.base.checks import nearest, refusal
from search_space.base.errors import InvalidRequest

if TYPE_CHECKING:
    from search_space.layered_network import PlainNetwork


def add_network(parser: Parser, *, optional: bool = False) -> None:
    """The network, its size, and whether JSON is wanted."""
    parser.add_argument(
        "network",
        nargs="?" if optional else None,
        help="name (see `sepnas list baselines` and `sepnas list zoo`), architecture file (JSON), or folder of a run",
    )
    parser.add_argument("--input", type=int, help="side of the square input, pixels (default: 32, or the file's)")
    parser.add_argument("--classes", type=int, help="number of classes (default: 10, or the file's)")
    parser.add_argument("--channels", type=int, help="input channels (default: 3, or the file's)")
    parser.add_argument("--width", type=float, help="channel multiplier of a baseline (default: 1.0)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def named_network(options: Namespace) -> PlainNetwork:
    """The network that the options of `add_network` name."""
    from search_space import baseline
    from search_space.hand_designed import is_named, named_networks
    from search_space.serialization import load_plain_network

    given = {"image_size": options.input, "classes": options.classes, "in_channels": options.channels}
    given = {name: value for name, value in given.items() if value is not None}
    if is_named(options.network):
        width = {} if options.width is None else {"width": options.width}
        return baseline(options.network, **given, **width)
    path = Path(options.network)
    if not options.network.endswith(".json") and not path.exists():
        why = "is neither a baseline, nor a JSON file, nor the folder of a run"
        near = nearest(options.network, named_networks(), "sepnas list baselines")
        raise refusal("network", options.network, why, near)
    if options.width is not None:
        raise InvalidRequest("--width: an architecture file has fixed channels; leave it out")
    if path.is_dir():
        from experiments.runs.folder import find_run

        path = find_run(path).require_winner()
    return replace(load_plain_network(path), **given)


def _cost(options: Namespace) -> None:
    architecture = named_network(options)
    from search_space import cost

    total = cost(architecture)
    if options.json:
        print(json.dumps({"network": options.network, "macs": total.macs, "params": total.params}))
        return
    from experiments.tables import table
    from strategies.budget.budget import format_count

    rows = [("MACs", total.macs), ("2xMACs", 2 * total.macs), ("params", total.params)]
    print(f"{options.network}:")
    print(table([(f"  {name}", format_count(value), f"{value:,}") for name, value in rows], right=(1, 2)))


def _describe(options: Namespace) -> None:
    architecture = named_network(options)
    from experiments.describe import describe, summary

    name = options.network
    print(json.dumps(summary(architecture, name), indent=2) if options.json else describe(architecture, name))


COST = Command("look at networks", "multiply-accumulates and parameters of a network", add_network, _cost)
DESCRIBE = Command(
    "look at networks",
    "a network as a table, one row per block",
    add_network,
    _describe,
    details="Each with its map, operator, channels, MACs, params and their share; and the totals by each convention of"
    " counting.",
)
