"""The command ``sepnas demo``."""

from __future__ import annotations

from pathlib import Path

from experiments.options.parsing import new_parser, parse, quiet
from search_space.options import PRESETS


def main(arguments: list[str]) -> None:
    parser = new_parser(
        "demo",
        "The whole job on scikit-learn's hand-written digits, offline: search by gdas and by evolution under one"
        " budget, retrain both winners and two baselines, write table and plot.",
    )
    parser.add_argument("--out", type=str, default="sepnas-demo", help="folder for everything (default: %(default)s)")
    parser.add_argument(
        "--space",
        choices=["quick", *PRESETS],
        default="quick",
        help="quick: ten operators at the hand-designed widths; a preset: its operators and the default widths"
        " (default: %(default)s)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the demo in OUT")
    parser.add_argument("--overwrite", action="store_true", help="delete the demo in OUT first")
    options = parse(parser, arguments)
    quiet()
    from evaluators.training.processes import check_alone
    from experiments.demo import demo

    check_alone("demo")
    demo(Path(options.out), options.space, resume=options.resume, overwrite=options.overwrite)
