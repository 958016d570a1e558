"""The command ``sepnas demo``: the whole job on embedded images."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from experiments.options.config import DEFAULT_BASELINES, StrategyConfig
from experiments.options.files import find_config, read_config
from experiments.options.parsing import Command, Namespace, Parser, quiet
from search_space.options import PRESETS, SpaceOptions

#: What is searched a second time, beside the strategy of the bundled config.
EVOLUTION = StrategyConfig("evolution", {"trials": 100})


def _add_options(parser: Parser) -> None:
    parser.add_argument("--out", default="sepnas-demo", help="folder for everything (default: %(default)s)")
    parser.add_argument(
        "--space",
        choices=["quick", *PRESETS],
        default="quick",
        metavar="NAME",
        help="quick: ten operators at the hand-designed widths; a preset: its operators and the default widths"
        " (default: %(default)s)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the demo in OUT")
    parser.add_argument("--overwrite", action="store_true", help="delete the demo in OUT first")


def _run(options: Namespace) -> None:
    quiet()
    from evaluators.training.processes import check_alone

    check_alone("demo")
    demo(Path(options.out), options.space, resume=options.resume, overwrite=options.overwrite)


def demo(out: Path, space: str = "quick", *, resume: bool, overwrite: bool) -> None:
    """Search by gdas and by evolution, compare with the baselines, export, print the table and where everything is.

    ``space`` is "quick" for the candidates of the bundled config, or a preset, searched at the default widths.
    """
    from experiments.comparison.compare import compare
    from experiments.runs.folder import check_out
    from experiments.search.search import search
    from experiments.training.export import export

    start = time.perf_counter()
    base = read_config(find_config("digits"))
    if space != "quick":
        base = replace(base, space=SpaceOptions(base.space.macro, base.space.width, operators=space))
    configs = [base, replace(base, strategy=EVOLUTION)]
    # both are checked before either is begun
    for config in configs:
        check_out(out / config.strategy.name, config.as_dict(), resume=resume, overwrite=overwrite)
    runs = []
    for config in configs:
        print(f"\n== search by {config.strategy.name}")
        runs.append(search(config, out / config.strategy.name, resume=resume, overwrite=overwrite))
    print("\n== retrain and compare")
    compare(runs, configs, list(DEFAULT_BASELINES), out / "report")
    export(runs[0].path, out / "export", overwrite=True)
    print(f"\n{(out / 'report' / 'comparison.md').read_text(encoding='utf-8')}")
    print(f"report: {out / 'report'}; the {base.strategy.name} winner: {out / 'export'}")
    print(f"took {time.perf_counter() - start:.0f} s")


COMMAND = Command(
    "find and train networks",
    "the whole job on scikit-learn's hand-written digits, offline, in minutes",
    _add_options,
    _run,
    details="Searches by gdas and by evolution under one budget, retrains both winners and two baselines, writes table"
    " and plot.",
)
