"""Winners, and what they are held against: networks fitted to their budget and random ones, trained alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from evaluators.data.options import DataOptions
from experiments.comparison.report import PAGE, PICTURE, RANDOM, TABLE, Row, write_report
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
from search_space.architecture import Architecture
from search_space.base.checks import check_int, refusal, unknown
from search_space.base.errors import InvalidRequest
from search_space.hand_designed import FIT_SUFFIX, baseline, baselines
from search_space.network_cost import cost
from strategies.budget.budget import Budget
from strategies.budget.feasible import FeasibleSet

REPORT = FolderKind("a comparison", (TABLE, PAGE, PICTURE))
#: random controls use at least this share of the tightest bound
_FILLED = 0.9


@dataclass(frozen=True)
class Control:
    """A network to compare winners with.

    Attributes:
        name: as in the request; its trainings lie in a folder of this name.
        label: what tables call it.
        family: the hand-designed network that it is, or `RANDOM`.
        architecture: for the images of the run.
        fitted: whether it is a fair opponent by its cost: fitted to the budget, or drawn from inside.
    """

    name: str
    label: str
    family: str
    architecture: Architecture
    fitted: bool


def controls(requests: list[str], task: SearchTask, run: RunFolder) -> list[Control]:
    """The networks that ``requests`` name, for the images and the budget of a search.

    Args:
        requests: ``NAME`` is a hand-designed network as it is, ``NAME@fit`` its widest form inside the budget, and
            ``random:K`` are K networks drawn uniformly from the architectures that use at least nine tenths of it.
            Where the budget has no upper bound on MACs or params, the winner's own MACs are the bound.
        task: of the search.
        run: its folder, with its winner.

    Raises:
        InvalidRequest: a name is unknown, or no width of it is inside the budget.
    """
    budget = _bounded(task.config.budget, run.read_winner())
    result: list[Control] = []
    for request in requests:
        kind, _, count = request.partition(":")
        if kind == RANDOM:
            result += _random(_count(request, count), task, budget)
        elif request.endswith(FIT_SUFFIX):
            name = request.removesuffix(FIT_SUFFIX)
            architecture, width = task.fitted(name, budget)
            result.append(Control(request, f"{request} (width {width:g})", name, architecture, fitted=True))
        else:
            architecture = baseline(request, **task.sizes, width=task.config.space.width)
            result.append(Control(request, request, request, architecture, fitted=False))
    return result


def check_names(requests: list[str]) -> None:
    """InvalidRequest for a request that names no control, before anything is opened."""
    for request in requests:
        kind, colon, count = request.partition(":")
        if kind == RANDOM and colon:
            _count(request, count)
        elif (name := request.removesuffix(FIT_SUFFIX)) not in baselines():
            raise unknown("baselines", name, [*baselines(), f"{RANDOM}:3"], "sepnas list baselines")


def _count(request: str, count: str) -> int:
    if not (count.isascii() and count.isdigit() and len(count) < 5):
        raise refusal("baselines", request, "does not say how many random networks", "write it like random:3")
    return check_int("baselines.random", int(count), 1)


def _bounded(budget: Budget, winner: Architecture) -> Budget:
    """The bounds on MACs and params alone; of a budget without an upper one, with the winner's MACs as that."""
    exact = budget.exact
    if exact.max_macs is None and exact.max_params is None:
        exact = exact.bounded("macs", exact.min_macs, cost(winner).macs)  # type: ignore[arg-type]
    return exact


def _random(count: int, task: SearchTask, budget: Budget) -> list[Control]:
    # bounds on the user's own costs hold for random networks too: they are candidates of the space
    whole = task.config.budget.bounded("macs", budget.min_macs, budget.max_macs)  # type: ignore[arg-type]
    part = FeasibleSet(task.table, whole).top_part(_FILLED)
    networks = task.draw(part, count, "random controls")
    return [
        Control(f"{RANDOM}-{number}", f"{RANDOM} {number}", RANDOM, network, fitted=True)
        for number, network in enumerate(networks, 1)
    ]


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
        if difference := first_difference(reference, read_conditions(folder)):
            why = f"was trained another way than {runs[0].path if runs else trained[0]} ({difference})"
            raise InvalidRequest(f"run: {folder} {why}; a table of both would not be fair")
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
        if difference := first_difference(first, this):
            why = f"has other data, retraining or seed than {runs[0].path} ({difference})"
            raise InvalidRequest(f"run: {run.path} {why}; a table of both would not be fair")
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
