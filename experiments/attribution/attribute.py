"""``sepnas attribute``: does the operator matter here?"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from evaluators.measuring.statistics import paired_difference
from experiments.attribution.report import PAGE, PICTURE, TABLE, Attributed, ranked, write_report
from experiments.attribution.swaps import KINDS, Kind, swaps
from experiments.options.config import SearchConfig
from experiments.runs.claimed_folder import ClaimedFolder, FolderKind
from experiments.runs.folder import RunFolder
from experiments.runs.task import DataTask
from experiments.training.retrain import data_config, training_conditions
from experiments.training.several import Wanted, retrain_several
from search_space.base.errors import InvalidRequest

ATTRIBUTION = FolderKind("an attribution", (TABLE, PAGE, PICTURE))


def attribute(
    run: RunFolder,
    config: SearchConfig,
    out: Path | None = None,
    *,
    kinds: Collection[Kind] = KINDS,
    overwrite: bool = False,
) -> list[Attributed]:
    """Train the winner of ``run`` and its swaps alike, where they are not yet, and write what the swaps did.

    Args:
        run: a finished search.
        config: how they are trained: its data and its retraining; ``jobs`` trainings at once.
        out: folder for ``attribution.csv``, ``attribution.md`` and ``attribution.png``; by default one in the run's.
        kinds: which swaps.
        overwrite: training results that were made differently may be deleted.

    Raises:
        InvalidRequest: the winner has plain depthwise convolutions alone, or its folders cannot be used; before
            anything is trained.
        TrainingDiverged: a training diverged; raised when all have been tried.
    """
    architecture = run.read_winner()
    budget = config.budget
    metric = "params" if budget.max_macs is None and budget.max_params is not None else "macs"
    found = swaps(architecture, kinds, metric)
    if not found:
        raise InvalidRequest(f"run: the winner of {run.path} has only plain depthwise convolutions; nothing to swap")
    folder = ClaimedFolder(run.attribution if out is None else out, ATTRIBUTION)
    folder.check(overwrite=True)
    name = f"{config.strategy.name} winner"
    wanted = [Wanted(name, architecture, run.retrain / "winner")]
    wanted += [Wanted(swap.label, swap.network, run.retrain / swap.name) for swap in found]
    task = DataTask(config.data, config.seed)
    winner, *results = retrain_several(wanted, config, task, overwrite=overwrite)
    rows = ranked(
        [
            (swap, result, paired_difference(winner.by_seed, result.by_seed))
            for swap, result in zip(found, results, strict=True)
        ]
    )
    folder.claim(overwrite=True)
    conditions = training_conditions(config.retrain, data_config(config))
    write_report(rows, winner, config.data.display_name, conditions, folder.path, metric=metric)
    return rows
