"""Winners and hand-designed baselines, trained alike, in one table and one plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from evaluators.data.options import DataOptions
from experiments.comparison.controls import check_names, controls
from experiments.comparison.report import PAGE, PICTURE, TABLE, Row, write_report
from experiments.options.config import SearchConfig
from experiments.runs.claimed_folder import ClaimedFolder, FolderKind, first_difference
from experiments.runs.folder import RunFolder
from experiments.runs.task import SearchTask
from experiments.training.retrain import (
    Result,
    check_request,
    data_config,
    read_conditions,
    read_result,
    retrain_network,
    retrain_winner,
    training_conditions,
)
from search_space.base.errors import InvalidRequest

REPORT = FolderKind("a comparison", (TABLE, PAGE, PICTURE))


def compare(
    runs: list[RunFolder],
    configs: list[SearchConfig],
    baselines: list[str],
    out: Path,
    *,
    trained: Sequence[Path] = (),
    title: str | None = None,
    overwrite: bool = False,
) -> list[Result]:
    """Retrain what is not yet, then write ``comparison.csv``, ``comparison.md`` and ``accuracy_macs.png`` to ``out``.

    Args:
        runs: finished searches on the same data, with the same retraining.
        configs: theirs.
        baselines: requests as `controls` takes them, for the images and the budget of the first run.
        out: the folder of the report.
        trained: folders of `sepnas retrain --out`, trained that way too; they join the table as they are.
        title: what the data are called; by default as the first config says, or by their name.
        overwrite: training results that were made another way may be deleted.
    """
    _check_alike(runs, configs)
    check_names(baselines)
    if len(set(baselines)) != len(baselines):
        raise InvalidRequest(f"baselines: a name stands twice in {', '.join(baselines)}")
    if baselines and not runs:
        raise InvalidRequest(
            f"baselines: {', '.join(baselines)} would be trained as a search's config says, but no search is given;"
            " train them by `sepnas retrain NAME --out FOLDER` and give their folders"
        )
    reference = (
        training_conditions(configs[0].retrain, data_config(configs[0])) if runs else read_conditions(trained[0])
    )
    for folder in trained:
        difference = first_difference(reference, read_conditions(folder))
        if difference is not None:
            raise InvalidRequest(
                f"run: {folder} was trained another way than {runs[0].path if runs else trained[0]} ({difference}); a"
                " table of both would not be fair"
            )
    done = [Row(read_result(folder), folder.resolve().name, None, searched=False, folder=folder) for folder in trained]
    report = ClaimedFolder(out, REPORT)
    report.check(overwrite=True)
    rows = _train(runs, configs, baselines, overwrite=overwrite) if runs else []
    rows = _distinct_names(rows + done)
    if title is None:
        options = configs[0].data if runs else DataOptions(name=reference["data"]["name"])
        title = options.display_name
    report.claim(overwrite=True)
    write_report(rows, title, reference, runs[0].read_provenance() if runs else rows[0].result.provenance, out)
    return [row.result for row in rows]


def _check_alike(runs: list[RunFolder], configs: list[SearchConfig]) -> None:
    """InvalidRequest if a run has no winner, or other data or another retraining than the first one."""
    for run, config in zip(runs, configs, strict=True):
        first, this = ({"data": data_config(c), "retrain": asdict(c.retrain)} for c in (configs[0], config))
        if this != first:
            raise InvalidRequest(
                f"run: {run.path} has other data, retraining or seed than {runs[0].path}"
                f" ({first_difference(first, this)}); a table of both would not be fair"
            )
        run.require_winner()


def _train(runs: list[RunFolder], configs: list[SearchConfig], baselines: list[str], *, overwrite: bool) -> list[Row]:
    """Winners and baselines, trained as the first run's config says where they are not yet."""
    first = configs[0]
    task = SearchTask(first)
    # all of them, before the first is trained
    for run, config in zip(runs, configs, strict=True):
        check_request(run.read_winner(), config, task, run.retrain / "winner", overwrite=overwrite)
    opponents = controls(baselines, task, runs[0]) if baselines else []
    for control in opponents:
        check_request(control.architecture, first, task, runs[0].retrain / control.name, overwrite=overwrite)
    # a winner is held against the budget it was searched under, a control against the first
    rows = []
    for run, config in zip(runs, configs, strict=True):
        result = retrain_winner(run, config, task=task, overwrite=overwrite)
        rows.append(Row(result, config.strategy.name, config.budget, searched=True, folder=run.path))
    for control in opponents:
        home = runs[0].retrain / control.name
        result = retrain_network(control.label, control.architecture, first, home, task=task, overwrite=overwrite)
        rows.append(Row(result, control.family, first.budget, searched=False, fitted=control.fitted))
    return rows


def _distinct_names(rows: list[Row]) -> list[Row]:
    """Name networks of the same name, as winners of one strategy, by their folder as well."""
    names = [row.result.name for row in rows]
    paths = [row.folder.resolve() for row in rows if row.folder is not None]
    short = len({path.name for path in paths}) == len(paths)

    def distinct(row: Row) -> Row:
        if names.count(row.result.name) == 1 or row.folder is None:
            return row
        path = row.folder.resolve()
        return replace(row, result=replace(row.result, name=f"{row.result.name} ({path.name if short else path})"))

    return list(map(distinct, rows))
