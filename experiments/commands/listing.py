"""The command ``sepnas list``: the names are found by `experiments.listing`."""

from __future__ import annotations

from experiments.listing import LISTINGS
from experiments.options.parsing import new_parser, parse


def main(arguments: list[str]) -> None:
    parser = new_parser("list", "What can be named in a config.")
    parser.add_argument("what", choices=list(LISTINGS), help="what to list")
    what = parse(parser, arguments).what
    print(LISTINGS[what]())
