"""Finalists are confirmed by training: a search's winner is what does best on validation images over several seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from evaluators.base.progress import progress_bar
from evaluators.training.run import TrainingRun
from experiments.options.config import FITTED_FINALISTS, SearchConfig
from experiments.runs.files import Table
from experiments.runs.folder import RunFolder
from experiments.runs.task import SearchTask, stream_seed
from experiments.runs.trainings import Trainings
from search_space.architecture import Architecture
from search_space.base.errors import InvalidRequest
from search_space.hand_designed import FIT_SUFFIX
from strategies.budget.budget import EXACT_METRICS

_COLUMNS = ("finalist", "seed", "validation_loss", "validation_accuracy", "architecture")


def confirm(config: SearchConfig, task: SearchTask, run: RunFolder, found: Sequence[Architecture]) -> Architecture:
    """The best of ``found`` and of hand-designed networks fitted to the budget, by their mean validation loss.

    Each is trained by the search's recipe with ``config.finalist_seeds`` seeds. What a killed search has trained
    already is not repeated. Prints how they did and what that says of the search.

    Args:
        config: of the search.
        task: its images and budget.
        run: its folder; ``finalists.csv`` gets a row for each training.
        found: the search's finalists, the best first.
    """
    finalists = {f"finalist {number}": architecture for number, architecture in enumerate(found, 1)}
    finalists |= _fitted(config, task, set(finalists.values()))
    table = Table(run.finalists, _COLUMNS)
    table.keep([row for row in table.rows if row["architecture"] == str(finalists.get(row["finalist"]))])
    done = {(row["finalist"], int(row["seed"])) for row in table.rows}
    calls = [(name, seed) for seed in range(config.finalist_seeds) for name in finalists if (name, seed) not in done]
    runs = [
        TrainingRun(
            seed=stream_seed(config.seed, f"finalist seed {seed}"),
            train_on="train",
            measure_on="validation",
            accelerator=config.accelerator,
            title=name,
        )
        for name, seed in calls
    ]
    with (
        progress_bar(len(calls), "finalists", "training") as bar,
        Trainings(task, config.search, len(calls)) as trainings,
    ):
        scores = trainings.each([(finalists[name], run) for (name, _), run in zip(calls, runs, strict=True)])
        for (name, seed), score in zip(calls, scores, strict=True):
            values = (name, seed, repr(score.loss), repr(score.accuracy), str(finalists[name]))
            table.append(dict(zip(_COLUMNS, values, strict=True)))
            bar.update(1)
    return _winner(finalists, table.rows)


def _fitted(config: SearchConfig, task: SearchTask, others: set[Architecture]) -> dict[str, Architecture]:
    """Hand-designed networks in their widest form inside the budget; none without an upper bound on MACs or params."""
    if config.budget.max_macs is None and config.budget.max_params is None:
        return {}
    if set(config.budget.bounds()) - set(EXACT_METRICS):
        return {}  # what they cost by the user's own measure is not known
    found: dict[str, Architecture] = {}
    for name in FITTED_FINALISTS:
        try:
            architecture, _ = task.fitted(name)
        except InvalidRequest:
            continue  # not even its narrowest form is inside
        if architecture not in others and architecture not in found.values():
            found[name + FIT_SUFFIX] = architecture
    return found


def _winner(finalists: dict[str, Architecture], rows: list[dict[str, str]]) -> Architecture:
    losses: dict[str, list[float]] = {name: [] for name in finalists}
    accuracies: dict[str, list[float]] = {name: [] for name in finalists}
    for row in rows:
        loss = float(row["validation_loss"])
        losses[row["finalist"]].append(loss if math.isfinite(loss) else math.inf)
        accuracies[row["finalist"]].append(float(row["validation_accuracy"]))
    means = {name: fmean(values) for name, values in losses.items()}
    for name in sorted(means, key=means.__getitem__):
        print(f"  {name}: validation loss {means[name]:.4f}, accuracy {fmean(accuracies[name]):.2%}")
    best = min(means, key=means.__getitem__)
    hand_designed = [name for name in means if name.endswith(FIT_SUFFIX)]
    if not math.isfinite(means[best]):
        raise RuntimeError("every finalist's training diverged; lower search.learning_rate")
    if best in hand_designed:
        print(f"no searched network is better than {best} on the validation images: it is the winner")
    elif hand_designed:
        next_best = min(hand_designed, key=means.__getitem__)
        print(f"{best} is ahead of {next_best} by {means[next_best] - means[best]:.4f} of validation loss")
    return finalists[best]
