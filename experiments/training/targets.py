"""What can be retrained: the winner of a run, an architecture file, a hand-designed network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evaluators.training.devices import check_precision, check_processes, pick_accelerator
from evaluators.training.loaders import check_fit, check_input
from experiments.options.config import SearchConfig
from experiments.runs.folder import RunFolder
from experiments.runs.task import DataTask
from experiments.training.retrain import Result, check_results, retrain_all
from search_space.architecture import Architecture
from search_space.hand_designed import baseline
from search_space.serialization import load_architecture


def retrain_winner(
    run: RunFolder,
    config: SearchConfig,
    *,
    task: DataTask | None = None,
    folder: Path | None = None,
    overwrite: bool = False,
) -> Result:
    """Retrain the winner of ``run`` as ``config.retrain`` says, into ``folder`` (default: the run's own)."""
    home = folder if folder is not None else run.retrain / "winner"
    name = f"{config.strategy.name} winner"
    return retrain_network(name, run.read_winner(), config, home, task=task, overwrite=overwrite)


def retrain_file(path: Path, config: SearchConfig, folder: Path, *, overwrite: bool = False) -> Result:
    """Retrain the architecture in a JSON file as ``config.retrain`` says, into ``folder``."""
    return retrain_network(path.stem, load_architecture(path), config, folder, overwrite=overwrite)


def retrain_baseline(
    name: str, config: SearchConfig, folder: Path, *, width: float = 1.0, overwrite: bool = False
) -> Result:
    """Retrain the hand-designed network ``name``, made for the config's images, into ``folder``."""
    task = DataTask(config.data, config.seed)
    return retrain_network(name, hand_designed(name, task, width), config, folder, task=task, overwrite=overwrite)


def hand_designed(name: str, task: DataTask, width: float) -> Architecture:
    """The hand-designed network ``name`` for the images of ``task``; ``width`` multiplies its channels."""
    size, classes = task.options.image_size, len(task.classes)
    return baseline(name, image_size=size, in_channels=task.channels, classes=classes, width=width)


def retrain_network(
    name: str,
    architecture: Architecture,
    config: SearchConfig,
    folder: Path,
    *,
    task: DataTask | None = None,
    overwrite: bool = False,
) -> Result:
    """Retrain ``architecture`` as ``config.retrain`` says, into ``folder``; ``task`` has the config's images."""
    task = DataTask(config.data, config.seed) if task is None else task
    check_request(architecture, config, task, folder, overwrite=overwrite)
    check_fit(architecture, task.data)
    return retrain_all(
        name,
        architecture,
        task.data,
        config.retrain,
        folder,
        data_config=data_config(config),
        accelerator=config.accelerator,
        overwrite=overwrite,
    )


def check_request(
    architecture: Architecture, config: SearchConfig, task: DataTask, folder: Path, *, overwrite: bool
) -> None:
    """InvalidRequest if a retraining cannot work or its results have no place in ``folder``; decodes no image."""
    check_precision(config.retrain.recipe.precision, pick_accelerator(config.accelerator))
    options = config.retrain
    check_processes(options.devices, options.num_nodes, config.accelerator, options.parallel_seeds)
    check_results(folder, architecture, options, data_config(config), overwrite=overwrite)
    check_input(architecture, config.data.name, config.data.image_size, task.channels, len(task.classes))


def data_config(config: SearchConfig) -> dict[str, Any]:
    """What the images of a training depend on."""
    return {**config.data.deciding(), "seed": config.seed}
