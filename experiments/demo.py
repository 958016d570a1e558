"""The whole job on embedded images."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from experiments.comparison.compare import compare
from experiments.options.config import DEFAULT_BASELINES, StrategyConfig
from experiments.options.files import find_config, read_config
from experiments.runs.folder import check_out
from experiments.search.search import search
from experiments.training.export import export
from search_space.options import SpaceOptions

#: What is searched a second time, beside the strategy of the bundled config.
EVOLUTION = StrategyConfig("evolution", {"trials": 100})


def demo(out: Path, space: str = "quick", *, resume: bool, overwrite: bool) -> None:
    """Search by gdas and by evolution, compare with the baselines, export, print the table and where everything is.

    ``space`` is "quick" for the candidates of the bundled config, or a preset, searched at the default widths.
    """
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
