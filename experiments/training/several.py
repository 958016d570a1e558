"""Several networks retrained alike, several trainings at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evaluators.data.images import ImageData
from evaluators.training.pools import Pool
from evaluators.training.run import TrainingDiverged
from experiments.options.config import SearchConfig
from experiments.runs.engine import open_retraining_pool
from experiments.runs.failures import reason_of
from experiments.runs.task import DataTask
from experiments.training.retrain import (
    RESULT_FILE,
    Result,
    check_request,
    claim_folder,
    data_config,
    retrain_all,
    retrain_network,
    train_at_once,
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

    What is done is not done again. Several at once share the threads of this process; ``task`` has the images.

    Raises:
        InvalidRequest: a network cannot be trained, or its folder holds other results; before the first is trained.
        TrainingDiverged: a training failed; raised when all have been tried.
    """
    for one in wanted:
        check_request(one.network, config, task, one.home, overwrite=overwrite)
    missing = []
    for one in wanted:
        claim_folder(one.home, one.network, config.retrain, data_config(config), task.data, overwrite=overwrite)
        seeds = [seed for seed in config.retrain.seeds if not (one.home / f"seed{seed}" / RESULT_FILE).exists()]
        missing += [(one, seed) for seed in seeds]
    pool = open_retraining_pool(config, task.data, len(wanted) * len(config.retrain.seeds), len(missing))
    if pool is not None:
        _train_at_once(missing, config, pool)
    return [retrain_network(one.name, one.network, config, one.home, task=task) for one in wanted]


def _train_at_once(calls: Sequence[tuple[Wanted, int]], config: SearchConfig, pool: Pool) -> None:
    made = train_at_once(pool, _train, [(one, _of_one_seed(config, seed)) for one, seed in calls])
    if reasons := [reason_of(error) for call in made if isinstance(error := call.exception(), Exception)]:
        raise TrainingDiverged(f"{reasons[0]}; in all, {len(reasons)} of {len(calls)} trainings failed")


def _of_one_seed(config: SearchConfig, seed: int) -> SearchConfig:
    return replace(config, retrain=replace(config.retrain, seeds=[seed]))


def _train(data: ImageData, one: Wanted, config: SearchConfig) -> None:
    retrain_all(
        *(one.name, one.network, data, config.retrain, one.home),
        data_config=data_config(config),
        accelerator=config.accelerator,
        trackers=config.trackers,
    )
