"""The command ``sepnas describe``."""

from __future__ import annotations

import json

from experiments.commands.network_options import named_network, network_parser
from experiments.options.parsing import parse


def main(arguments: list[str]) -> None:
    parser = network_parser(
        "describe",
        "A network as a table: one row a block with its map, operator, channels, MACs, params and their share; and the"
        " totals by each convention of counting.",
    )
    options = parse(parser, arguments)
    architecture = named_network(options)
    from experiments.describe import describe, summary

    if options.json:
        print(json.dumps(summary(architecture, options.network), indent=2))
    else:
        print(describe(architecture, options.network))
