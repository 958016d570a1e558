"""Several networks retrained alike, several trainings at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evaluators.base.progress import progress_bar
from evaluators.data.images import ImageData
from evaluators.training.pools import SharedPool
from evaluators.training.run import TrainingDiverged
from experiments.options.config import SearchConfig
from experiments.runs.task import DataTask
from experiments.runs.trainings import jobs_at_once
from experiments.training.retrain import (
    RESULT_FILE,
    Result,
    check_request,
    claim_folder,
    data_config,
    retrain_all,
    retrain_network,
)
from search_space.blueprint import AnyNetwork


@dataclass(frozen=True)
class Wanted:
    """A network to be trained: what tables call it, its value, the folder of its trainings."""

    name: str
    network: AnyNetwork
    home: Path


def retrain_several(
    wanted: Sequence[Wanted], config: SearchConfig, task: DataTask, *, overwrite: bool = False
) -> list[Result]:
    """Retrain each network as ``config.retrain`` says, as many trainings at once as ``config.jobs`` says.

    What is done is not done again. Several at once run in processes with one thread each; ``task`` has the images.

    Raises:
        InvalidRequest: a network cannot be trained, or its folder holds other results; before the first is trained.
        TrainingDiverged: a training diverged; raised when all have been tried.
    """
    for one in wanted:
        check_request(one.network, config, task, one.home, overwrite=overwrite)
    missing = []
    for one in wanted:
        claim_folder(one.home, one.network, config.retrain, data_config(config), task.data, overwrite=overwrite)
        seeds = [seed for seed in config.retrain.seeds if not (one.home / f"seed{seed}" / RESULT_FILE).exists()]
        missing += [(one, seed) for seed in seeds]
    jobs = min(jobs_at_once(config), len(missing))
    if jobs > 1 and config.retrain.devices == 1:  # trainings at once cannot each take several devices
        _train_at_once(missing, config, task.data, jobs)
    return [retrain_network(one.name, one.network, config, one.home, task=task) for one in wanted]


def _train_at_once(calls: Sequence[tuple[Wanted, int]], config: SearchConfig, data: ImageData, jobs: int) -> None:
    pool = SharedPool(jobs, data)
    errors = []
    try:
        with progress_bar(len(calls), "trainings", "training") as bar:
            for done in [pool.submit(_train, one, _of_one_seed(config, seed)) for one, seed in calls]:
                errors.append(done.result())
                bar.update(1)
    finally:
        pool.close()
    if failed := [error for error in errors if error is not None]:
        raise TrainingDiverged(f"{failed[0]}; in all, {len(failed)} of {len(calls)} trainings diverged")


def _of_one_seed(config: SearchConfig, seed: int) -> SearchConfig:
    return replace(config, retrain=replace(config.retrain, seeds=[seed], parallel_seeds=1))


def _train(data: ImageData, one: Wanted, config: SearchConfig) -> str | None:
    """What went wrong with the training, if it diverged."""
    try:
        retrain_all(
            *(one.name, one.network, data, config.retrain, one.home),
            data_config=data_config(config),
            accelerator=config.accelerator,
            trackers=config.trackers,
        )
    except TrainingDiverged as error:
        return str(error)
    return None
