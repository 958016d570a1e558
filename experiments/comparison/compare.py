"""Winners and hand-designed baselines, trained alike, in one table and one plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from evaluators.data.options import DataOptions
from experiments.comparison.controls import Control, check_names, controls
from experiments.comparison.report import PAGE, PICTURE, TABLE, Row, write_report
from experiments.options.config import SearchConfig
from experiments.runs.claimed_folder import ClaimedFolder, FolderKind, first_difference
from experiments.runs.folder import RunFolder
from experiments.runs.task import SearchTask
from experiments.training.retrain import Result, read_conditions, read_result, training_conditions
from experiments.training.targets import check_request, data_config, retrain_network, retrain_winner
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

    All runs must use the same data and retraining; ``baselines`` are requests as `controls` takes them, for the images
    and the budget of the first run.
    ``trained`` are folders of `sepnas retrain --out`, made by that retraining too; they join the table as they are.
    ``title`` is what the data are called; by default as the first run's config says, or by their name.
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
    done = [Row(read_result(folder), folder.resolve().name, None, searched=False) for folder in trained]
    report = ClaimedFolder(out, REPORT)
    report.check(overwrite=True)
    rows = _train(runs, configs, baselines, overwrite=overwrite) if runs else []
    opponents: list[Path | None] = [None] * (len(rows) - len(runs))
    rows = _distinct_names([*rows, *done], [*(run.path for run in runs), *opponents, *trained])
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
    rows = [
        Row(
            retrain_winner(run, config, task=task, overwrite=overwrite),
            config.strategy.name,
            config.budget,
            searched=True,
        )
        for run, config in zip(runs, configs, strict=True)
    ]
    # a winner is held against the budget it was searched under, a control against the first
    return rows + [_train_control(control, first, runs[0], task, overwrite=overwrite) for control in opponents]


def _train_control(control: Control, config: SearchConfig, run: RunFolder, task: SearchTask, *, overwrite: bool) -> Row:
    home = run.retrain / control.name
    result = retrain_network(control.label, control.architecture, config, home, task=task, overwrite=overwrite)
    return Row(result, control.family, config.budget, searched=False, fitted=control.fitted)


def _distinct_names(rows: list[Row], folders: list[Path | None]) -> list[Row]:
    """Name networks of the same name, as winners of one strategy, by their folder as well."""
    names = [row.result.name for row in rows]
    paths = [folder.resolve() for folder in folders if folder is not None]
    short = len({path.name for path in paths}) == len(paths)

    def distinct(row: Row, folder: Path | None) -> Row:
        if names.count(row.result.name) == 1 or folder is None:
            return row
        path = folder.resolve()
        return replace(row, result=replace(row.result, name=f"{row.result.name} ({path.name if short else path})"))

    return [distinct(row, folder) for row, folder in zip(rows, folders, strict=True)]
