"""The command ``sepnas demo``: the whole job on embedded images."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from experiments.options.config import SearchConfig
from experiments.options.files import find_config, read_config
from experiments.options.parsing import Command, Namespace, Parser, add_option
from search_space.options import PRESETS, SpaceOptions

#: What the winner is held against.
CONTROLS = ("mobilenetv3-small@fit", "random:2")


def _add_options(parser: Parser) -> None:
    parser.add_argument("--out", default="sepnas-demo", help="folder for everything (default: %(default)s)")
    parser.add_argument(
        "--space",
        choices=["quick", *PRESETS],
        default="quick",
        metavar="NAME",
        help="candidate operators, by a preset; quick is paper (default: %(default)s)",
    )
    add_option(parser, SearchConfig, "jobs")
    parser.add_argument("--resume", action="store_true", help="continue the demo in OUT")
    parser.add_argument("--overwrite", action="store_true", help="delete the demo in OUT first")


def _run(options: Namespace) -> None:
    """Search, compare the winner with its controls, export it, print the table and where everything is."""
    import torch

    from experiments.bundle.export import export
    from experiments.bundle.forms import DEFAULT_FORMATS
    from experiments.comparison.compare import compare
    from experiments.search.search import search

    start, out = time.perf_counter(), Path(options.out)
    # trainings go on side by side; more threads than one each would get in each other's way
    torch.set_num_threads(1)
    config = replace(read_config(find_config("digits")), jobs=options.jobs)
    if options.space != "quick":  # a preset, at the default widths
        config = replace(config, space=SpaceOptions(config.space.macro, config.space.width, operators=options.space))
    print(f"== search by {config.strategy.name}")
    run = search(config, out / "search", resume=options.resume, overwrite=options.overwrite)
    print("\n== train the winner and its controls")
    compare([run], [config], list(CONTROLS), out / "report", overwrite=options.overwrite)
    print("\n== export it")
    bundle = export(run.path, out / "export", DEFAULT_FORMATS, overwrite=True)
    print(f"\n{(out / 'report' / 'comparison.md').read_text(encoding='utf-8')}")
    print(f"{bundle}\nreport: {out / 'report'}; open {out / 'report' / 'index.html'}")
    print(f"took {time.perf_counter() - start:.0f} s")


COMMAND = Command(
    "find and train networks",
    "the whole job on scikit-learn's hand-written digits, offline, in minutes",
    _add_options,
    _run,
    details="Searches under a budget, trains the winner and other networks of that budget alike, and writes table and"
    " page.",
    alone=True,
)
