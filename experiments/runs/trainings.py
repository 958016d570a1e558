"""Trainings of many architectures for their scores on the validation images, several at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future

from evaluators.data.images import ImageData
from evaluators.data.loaders import usable_cores
from evaluators.training.devices import pick_accelerator
from evaluators.training.pools import SharedPool
from evaluators.training.recipes import Recipe
from evaluators.training.retrain import retrain
from evaluators.training.run import TrainingDiverged, TrainingRun
from experiments.options.config import SearchConfig
from experiments.runs.records import metrics_rows, metrics_writer
from experiments.runs.scores import Score
from experiments.runs.task import SearchTask
from search_space.architecture import Architecture


class Trainings:
    """Trains architectures by one recipe, as many at once as the config's ``jobs`` say.

    One at once runs in this process; several run in processes with one thread each, until it is closed.

    Args:
        task: whose images they are trained on and measured with.
        recipe: how.
        most: trainings that there can be at once in any case.
    """

    def __init__(self, task: SearchTask, recipe: Recipe, most: int) -> None:
        self.data = task.data
        self.recipe = recipe
        jobs = min(jobs_at_once(task.config), most)
        self._pool = SharedPool(jobs, self.data) if jobs > 1 else None
        self.parallel = self._pool is not None

    def begin(self, architecture: Architecture, run: TrainingRun) -> Callable[[], Score]:
        """Begin a training; the result waits for its score, and raises what the training did but `TrainingDiverged`.

        One whose process dies is begun anew once (`evaluators.training.pools.OwnProcess.call`).
        """
        if self._pool is not None:
            return self._pool.submit(_train, architecture, self.recipe, run).result
        future: Future[Score] = Future()
        try:
            future.set_result(_train(self.data, architecture, self.recipe, run))
        except Exception as error:
            future.set_exception(error)
        return future.result

    def each(self, calls: Iterable[tuple[Architecture, TrainingRun]]) -> Iterator[Score]:
        """The scores of the trainings, in their order."""
        waiting = (self.begin(*call) for call in calls)
        for wait in list(waiting) if self.parallel else waiting:
            yield wait()

    def close(self) -> None:
        """End the processes; trainings that are not done are given up."""
        if self._pool is not None:
            self._pool.close()


def jobs_at_once(config: SearchConfig) -> int:
    """``config.jobs``, or by default one for each core; one on a GPU."""
    if config.jobs is not None:
        return config.jobs
    return 1 if pick_accelerator(config.accelerator) == "cuda" else usable_cores()


def _train(data: ImageData, architecture: Architecture, recipe: Recipe, run: TrainingRun) -> Score:
    """The score; nan if the training diverges, which makes a bad candidate, not a failed search."""
    figures = None if run.folder is None else run.folder / "metrics.csv"
    report = None if figures is None else metrics_writer(figures, "training")
    try:
        trained = retrain(architecture, data, recipe, run, on_epoch=report)
    except TrainingDiverged as error:
        return Score(math.nan, math.nan, math.nan, diverged=str(error))
    if figures is None:
        return Score(trained.accuracy, trained.loss, trained.seconds)
    # of all epochs: a resumed training has run for longer than this process
    rows = metrics_rows(figures)
    return Score(
        trained.accuracy, trained.loss, sum(float(row["seconds"]) for row in rows), float(rows[-1]["train_loss"])
    )
