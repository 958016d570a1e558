"""Finalists are confirmed by training: a search's winner is what does best on validation images over several seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from statistics import fmean

from evaluators.base.progress import Work, progress_bar
from evaluators.training.run import TrainingRun
from experiments.options.config import FITTED_FINALISTS
from experiments.runs.files import Table
from experiments.runs.folder import RunFolder
from experiments.runs.task import SearchTask, stream_seed
from experiments.runs.trainings import Trainings
from search_space.architecture import Architecture
from search_space.base.errors import InvalidRequest
from search_space.hand_designed import FIT_SUFFIX
from strategies.budget.budget import EXACT_METRICS

_COLUMNS = ("finalist", "seed", "validation_loss", "validation_accuracy", "architecture")


def confirm(
    task: SearchTask,
    run: RunFolder,
    best: Sequence[Architecture],
    *,
    title: str = "finalists",
    work: Work | None = None,
) -> Architecture:
    """The winner among the ``best`` of a search and hand-designed networks fitted to the budget, by validation loss.

    They are trained by the search's recipe in ``config.finalist_seeds`` rounds: each trains those that are left by one
    more seed, and the better half of these by their mean loss, two at least, goes on to the next. ``finalists.csv``
    gets a row for each training, and what it has is not trained again. Prints how they did. The bar has the ``title``;
    ``work`` counts the epochs of the trainings.
    """
    config = task.config
    finalists = {f"finalist {number}": architecture for number, architecture in enumerate(best, 1)}
    finalists |= fitted_finalists(task, set(finalists.values()))
    table = Table(run.finalists, _COLUMNS, dict(zip(_COLUMNS, (str, int, float, float, str), strict=True)))
    table.keep([row for row in table.rows if row["architecture"] == str(finalists.get(row["finalist"]))])
    sizes = round_sizes(len(finalists), config.finalist_seeds)
    left = list(finalists)

    def count(trainings: int, *, before: bool = False) -> None:
        if work is not None:
            work.count(trainings * config.search.epochs, before=before)
        bar.update(trainings)

    with (
        progress_bar(sum(sizes), title, "training", work=work) as bar,
        closing(Trainings(task, config.search, len(finalists), run.trials)) as trainings,
    ):
        for seed, size in enumerate(sizes):
            left = sorted(left, key=lambda name: _mean(table, name, "validation_loss", rounds=seed))[:size]
            done = {row["finalist"] for row in table.rows if int(row["seed"]) == seed}
            missing = [name for name in finalists if name in left and name not in done]
            count(size - len(missing), before=True)
            training = TrainingRun(
                seed=stream_seed(config.seed, f"finalist seed {seed}"),
                train_on="train",
                measure_on="validation",
                accelerator=config.accelerator,
            )
            calls = [(finalists[name], replace(training, title=name)) for name in missing]
            for name, score in zip(missing, trainings.each(calls), strict=True):
                values = (name, seed, score.loss, score.accuracy, finalists[name])
                table.append(dict(zip(_COLUMNS, values, strict=True)))
                count(1)
    return _winner(finalists, left, table, len(sizes))


def round_sizes(count: int, rounds: int) -> list[int]:
    """How many of ``count`` finalists are trained in each of ``rounds``."""
    sizes = [count]
    while len(sizes) < rounds:
        sizes.append(min(count, max(2, math.ceil(sizes[-1] / 2))))
    return sizes


def fitted_finalists(task: SearchTask, others: set[Architecture]) -> dict[str, Architecture]:
    """Hand-designed networks in their widest form inside the budget; none without an upper bound on MACs or params."""
    budget = task.config.budget
    if budget.max_macs is None and budget.max_params is None:
        return {}
    if set(budget.bounds()) - set(EXACT_METRICS):
        return {}  # what they cost by the user's own measure is not known
    fitted: dict[str, Architecture] = {}
    for name in FITTED_FINALISTS:
        try:
            architecture, _ = task.fitted(name)
        except InvalidRequest:
            continue  # not even its narrowest form is inside
        assert isinstance(architecture, Architecture)
        if architecture not in others and architecture not in fitted.values():
            fitted[name + FIT_SUFFIX] = architecture
    return fitted


def _mean(table: Table, name: str, column: str, *, rounds: int) -> float:
    """Over the first ``rounds`` trainings of a finalist; infinite if one of them diverged, 0 if there is none."""
    values = [float(row[column]) for row in table.rows if row["finalist"] == name and int(row["seed"]) < rounds]
    return (fmean(values) if all(map(math.isfinite, values)) else math.inf) if values else 0.0


def _winner(finalists: dict[str, Architecture], left: Sequence[str], table: Table, rounds: int) -> Architecture:
    """The best of those ``left`` after the last of ``rounds``."""
    means = {name: _mean(table, name, "validation_loss", rounds=rounds) for name in finalists}
    for name in sorted(means, key=lambda name: (name not in left, means[name])):
        seeds = sum(row["finalist"] == name for row in table.rows)
        accuracy = _mean(table, name, "validation_accuracy", rounds=rounds)
        trainings = f"{seeds} training{'' if seeds == 1 else 's'}"
        print(f"  {name}: validation loss {means[name]:.4f}, accuracy {accuracy:.2%} ({trainings})")
    best = min(left, key=means.__getitem__)
    hand_designed = [name for name in means if name.endswith(FIT_SUFFIX)]
    if not math.isfinite(means[best]):
        raise RuntimeError("every finalist's training diverged; lower search.learning_rate")
    if best in hand_designed:
        print(f"no searched network is better than {best} on the validation images: it is the winner")
    elif hand_designed:
        next_best = min(hand_designed, key=lambda name: (name not in left, means[name]))
        if next_best in left:
            print(f"{best} is ahead of {next_best} by {means[next_best] - means[best]:.4f} of validation loss")
        else:
            print(f"{best} is left; {', '.join(hand_designed)} fell behind in an earlier round")
    return finalists[best]
