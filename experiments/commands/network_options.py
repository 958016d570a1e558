"""The options of the sub-commands that look at one network: its name or file, and its size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from experiments.options.parsing import new_parser
from search_space.base.errors import InvalidRequest

if TYPE_CHECKING:
    from search_space import Architecture


def network_parser(name: str, description: str) -> ArgumentParser:
    parser = new_parser(name, description)
    parser.add_argument(
        "network",
        type=str,
        nargs="?" if name == "latency" else None,
        help="name (see `sepnas list baselines`), architecture file (JSON), or folder of a run",
    )
    parser.add_argument("--input", type=int, help="side of the square input, pixels (default: 32, or the file's)")
    parser.add_argument("--classes", type=int, help="number of classes (default: 10, or the file's)")
    parser.add_argument("--channels", type=int, help="input channels (default: 3, or the file's)")
    parser.add_argument("--width", type=float, help="channel multiplier of a baseline (default: 1.0)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def named_network(options: Namespace) -> Architecture:
    """The architecture that the options of `network_parser` name."""
    from search_space import baseline, baselines, load_architecture

    given = {"image_size": options.input, "classes": options.classes, "in_channels": options.channels}
    given = {name: value for name, value in given.items() if value is not None}
    if options.network in baselines():
        width = {} if options.width is None else {"width": options.width}
        return baseline(options.network, **given, **width)
    path = Path(options.network)
    if not options.network.endswith(".json") and not path.exists():
        raise InvalidRequest(
            f"network: {options.network!r} is neither a baseline ({', '.join(baselines())}), nor a JSON file, nor the"
            " folder of a run"
        )
    if options.width is not None:
        raise InvalidRequest("--width: an architecture file has its channels fixed; leave it out")
    if path.is_dir():
        from experiments.runs.folder import find_run

        path = find_run(path).require_winner()
    return replace(load_architecture(path), **given)
