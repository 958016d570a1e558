"""Trainings of many architectures for their scores on the validation images, several at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from evaluators.data.images import ImageData
from evaluators.training.pools import Call, InProcess, Pool
from evaluators.training.recipes import Recipe
from evaluators.training.retrain import retrain
from evaluators.training.run import TrainingDiverged, TrainingRun
from experiments.runs.engine import open_pool
from experiments.runs.failures import FailedShare, reason_of
from experiments.runs.records import TrialRecord, metrics_rows, metrics_writer
from experiments.runs.scores import Score
from experiments.runs.task import SearchTask
from search_space.architecture import Architecture


class Trainings:
    """Trains architectures by one recipe, by the engine of the config and as many at once as its ``jobs`` say.

    One at once runs in this process; several run in processes with one thread each, until it is closed.

    Args:
        task: whose images they are trained on and measured with.
        recipe: how.
        most: trainings that there can be at once in any case.
        record: the CSV file that gets a row for each training that has ended (`TrialRecord`).
    """

    def __init__(self, task: SearchTask, recipe: Recipe, most: int, record: Path) -> None:
        data = task.data
        self.recipe = recipe
        self._most_failed = task.config.max_failed
        self._record = TrialRecord(record)
        pool = open_pool(task.config, data, most)
        self.parallel = pool is not None
        self._pool: Pool = pool or InProcess(data)

    def begin(self, architecture: Architecture, run: TrainingRun) -> Callable[[], Score]:
        """Begin a training; the result waits for its score, and raises what the training did but `TrainingDiverged`.

        One whose process dies is begun anew as often as the config's ``retries`` say.
        """
        call = self._pool.submit(_train, architecture, self.recipe, run)

        def wait() -> Score:
            try:
                score = call.result()
            except Exception as error:
                self._add(architecture, run, call, Score(math.nan, math.nan, call.seconds, reason=reason_of(error)))
                raise
            self._add(architecture, run, call, score)
            return score

        return wait

    def each(self, calls: Iterable[tuple[Architecture, TrainingRun]]) -> Iterator[Score]:
        """The scores of the trainings, in their order; nan for those that fail, whatever for.

        `TooManyFailed` as soon as more of them fail than the config's ``max_failed`` allows.
        """
        failed = FailedShare(self._most_failed)
        waiting = (self.begin(*call) for call in calls)
        for wait in list(waiting) if self.parallel else waiting:
            try:
                score = wait()
            except Exception as error:
                score = Score(math.nan, math.nan, math.nan, reason=reason_of(error))
            failed.count(score.reason)
            yield score

    def _add(self, architecture: Architecture, run: TrainingRun, call: Call[Score], score: Score) -> None:
        self._record.add(
            title=run.title,
            seed=run.seed,
            validation_accuracy=score.accuracy,
            validation_loss=score.loss,
            node=call.node,
            seconds=call.seconds,
            attempts=call.attempts,
            reason=score.reason,
            architecture=architecture,
        )

    def close(self) -> None:
        """End the processes; trainings that are not done are given up."""
        self._pool.close()


def _train(data: ImageData, architecture: Architecture, recipe: Recipe, run: TrainingRun) -> Score:
    """The score; nan if the training diverges, which makes a bad candidate, not a failed search."""
    figures = None if run.folder is None else run.folder / "metrics.csv"
    report = None if figures is None else metrics_writer(figures, "training")
    try:
        trained = retrain(architecture, data, recipe, run, on_epoch=report)
    except TrainingDiverged as error:
        return Score(math.nan, math.nan, math.nan, reason=str(error))
    if figures is None:
        return Score(trained.accuracy, trained.loss, trained.seconds)
    # of all epochs: a resumed training has run for longer than this process
    rows = metrics_rows(figures)
    return Score(
        trained.accuracy, trained.loss, sum(float(row["seconds"]) for row in rows), float(rows[-1]["train_loss"])
    )
