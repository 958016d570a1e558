"""The command ``sepnas cost``."""

from __future__ import annotations

import json

from experiments.commands.network_options import named_network, network_parser
from experiments.options.parsing import parse


def main(arguments: list[str]) -> None:
    parser = network_parser("cost", "Multiply-accumulates and parameters of a network.")
    options = parse(parser, arguments)
    architecture = named_network(options)
    from search_space import cost

    own = cost(architecture)
    if options.json:
        print(json.dumps({"network": options.network, "macs": own.macs, "params": own.params}))
    else:
        from strategies.budget.budget import format_count

        print(f"{options.network}: {format_count(own.macs)} MACs ({own.macs:,}), 2xMACs {format_count(2 * own.macs)},")
        print(f"  {format_count(own.params)} params ({own.params:,})")
