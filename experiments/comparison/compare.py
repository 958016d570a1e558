"""Winners, and what they are held against, trained alike and set in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from evaluators.data.options import DataOptions
from evaluators.latency.backends import Backend
from experiments.comparison.controls import check_names
from experiments.comparison.entries import distinct, entries, find_reference
from experiments.comparison.latency import measure
from experiments.comparison.report import LATEX, PAGE, TABLE, write_report
from experiments.comparison.rows import Row
from experiments.options.config import SearchConfig
from experiments.report.page import write_page
from experiments.runs.claimed_folder import ClaimedFolder, FolderKind, first_difference
from experiments.runs.folder import RunFolder
from experiments.runs.task import SearchTask
from experiments.training.retrain import (
    Result,
    data_config,
    read_conditions,
    read_result,
    training_conditions,
)
from experiments.training.several import Wanted, retrain_several
from search_space.base.checks import check_int
from search_space.base.errors import InvalidRequest

REPORT = FolderKind("a comparison", (TABLE, PAGE, LATEX))


def compare(
    runs: list[RunFolder],
    configs: list[SearchConfig],
    baselines: list[str],
    out: Path,
    *,
    trained: Sequence[Path] = (),
    pareto: int = 0,
    reference: str | None = None,
    latency: Backend | None = None,
    title: str | None = None,
    overwrite: bool = False,
) -> list[Result]:
    """Retrain what is not yet, then write ``comparison.csv``, ``comparison.md``, ``comparison.tex`` and the page
    ``index.html`` with its figures to ``out``.

    Args:
        runs: finished searches on the same data, with the same retraining.
        configs: theirs.
        baselines: requests as `experiments.comparison.controls.controls` takes them, for the images and the budget of
            the first run.
        out: the folder of the report.
        trained: folders of `sepnas retrain --out`, trained that way too; they join the table as they are.
        pareto: so many more networks of each run's Pareto set, at most, are rows too.
        reference: the network that all others are held against, by its name in the table or as requested; by default
            the first winner.
        latency: what times each network; None to leave the times out.
        title: what the data are called; by default as the first config says, or by their name.
        overwrite: training results that were made differently may be deleted.
    """
    check_int("pareto", pareto, 0)
    _check_alike(runs, configs)
    check_names(baselines)
    if baselines and not runs:
        raise InvalidRequest(
            f"baselines: {', '.join(baselines)} would be trained as a search's config says, but no search is given;"
            " train them by `sepnas retrain NAME --out FOLDER` and give their folders"
        )
    if pareto and not runs:
        raise InvalidRequest(f"pareto: {pareto}, but no search is given, which alone has a Pareto set; leave it out")
    conditions = (
        training_conditions(configs[0].retrain, data_config(configs[0])) if runs else read_conditions(trained[0])
    )
    for folder in trained:
        if difference := first_difference(conditions, read_conditions(folder)):
            why = f"was trained differently from {runs[0].path if runs else trained[0]} ({difference})"
            raise InvalidRequest(f"run: {folder} {why}; a table of both would not be fair")
    done = [Row(read_result(folder), folder.resolve().name, None, "trained", folder) for folder in trained]
    report = ClaimedFolder(out, REPORT)
    report.check(overwrite=True)
    task = SearchTask(configs[0]) if runs else None
    planned = entries(runs, configs, baselines, pareto, task) if task is not None else []
    names = [row.result.name for row in done]
    folders = [*(entry.folder for entry in planned), *(row.folder for row in done)]
    labels = distinct([*(entry.label for entry in planned), *names], folders)
    roles = [*(entry.role for entry in planned), *(row.role for row in done)]
    against = find_reference(reference, labels, [*(entry.name for entry in planned), *names], roles)
    wanted = [Wanted(entry.label, entry.network, entry.home) for entry in planned]
    results = [] if task is None else retrain_several(wanted, configs[0], task, overwrite=overwrite)
    rows = [
        Row(result, entry.family, entry.budget, entry.role, entry.folder)
        for result, entry in zip(results, planned, strict=True)
    ]
    rows = [
        replace(row, result=replace(row.result, name=label)) for row, label in zip([*rows, *done], labels, strict=True)
    ]
    latencies = measure([row.result.architecture for row in rows], latency) if latency is not None else None
    if title is None:
        options = configs[0].data if runs else DataOptions(name=conditions["data"]["name"])
        title = options.display_name
    report.claim(overwrite=True)
    provenance = runs[0].read_provenance() if runs else rows[0].result.provenance
    write_report(rows, title, conditions, provenance, out, reference=against, latencies=latencies)
    write_page(runs, out, title=title, overwrite=True)
    return [row.result for row in rows]


def _check_alike(runs: list[RunFolder], configs: list[SearchConfig]) -> None:
    """InvalidRequest if a run has no winner, or other data or another retraining than the first one."""
    for run, config in zip(runs, configs, strict=True):
        first, this = ({"data": data_config(c), "retrain": asdict(c.retrain)} for c in (configs[0], config))
        if difference := first_difference(first, this):
            why = f"has other data, retraining or seed than {runs[0].path} ({difference})"
            raise InvalidRequest(f"run: {run.path} {why}; a table of both would not be fair")
        run.require_winner()
