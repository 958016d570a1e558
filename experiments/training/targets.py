"""What can be retrained: the winner of a run, an architecture file, a hand-designed network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evaluators.data.images import ImageData
from evaluators.data.load import open_source
from evaluators.training.devices import check_precision, check_processes, pick_accelerator
from evaluators.training.loaders import check_fit, check_input
from experiments.options.config import SearchConfig
from experiments.runs.folder import RunFolder
from experiments.runs.task import load_images, possible_channels
from experiments.search.search import found
from experiments.training.retrain import Result, check_results, retrain_all
from search_space.architecture import Architecture
from search_space.base.errors import InvalidRequest
from search_space.hand_designed import baseline
from search_space.serialization import load_architecture


def retrain_winner(
    run: RunFolder,
    config: SearchConfig,
    *,
    data: ImageData | None = None,
    folder: Path | None = None,
    overwrite: bool = False,
) -> Result:
    """Retrain the winner of ``run`` as ``config.retrain`` says, into ``folder`` (default: the run's own)."""
    run.require_winner()
    home = folder if folder is not None else run.retrain / "winner"
    name = f"{config.strategy.name} winner"
    return retrain_network(name, found(run), config, home, data=data, overwrite=overwrite)


def retrain_file(path: Path, config: SearchConfig, folder: Path, *, overwrite: bool = False) -> Result:
    """Retrain the architecture in a JSON file as ``config.retrain`` says, into ``folder``."""
    return retrain_network(path.stem, load_architecture(path), config, folder, overwrite=overwrite)


def retrain_baseline(
    name: str, config: SearchConfig, folder: Path, *, width: float = 1.0, overwrite: bool = False
) -> Result:
    """Retrain the hand-designed network ``name``, made for the config's images, into ``folder``."""
    classes = len(open_source(config.data).classes)
    refused = None
    # Whether images are grey can need a look into every file. What fails for both is refused before that.
    for channels in possible_channels(config):
        try:
            check_request(_baseline(name, config, channels, classes, width), config, folder, overwrite=overwrite)
            break
        except InvalidRequest as error:
            refused = error
    else:
        assert refused is not None
        raise refused
    data = load_images(config.data, config.seed)
    architecture = _baseline(name, config, data.channels, classes, width)
    return retrain_network(name, architecture, config, folder, data=data, overwrite=overwrite)


def _baseline(name: str, config: SearchConfig, channels: int, classes: int, width: float) -> Architecture:
    return baseline(name, image_size=config.data.image_size, in_channels=channels, classes=classes, width=width)


def retrain_network(
    name: str,
    architecture: Architecture,
    config: SearchConfig,
    folder: Path,
    *,
    data: ImageData | None = None,
    overwrite: bool = False,
) -> Result:
    """Retrain ``architecture`` as ``config.retrain`` says, into ``folder``; ``data`` if they are loaded already."""
    if data is None:
        check_request(architecture, config, folder, overwrite=overwrite)
        data = load_images(config.data, config.seed)
    check_fit(architecture, data)
    return retrain_all(
        name,
        architecture,
        data,
        config.retrain,
        folder,
        data_config=data_config(config),
        accelerator=config.accelerator,
        overwrite=overwrite,
    )


def check_request(architecture: Architecture, config: SearchConfig, folder: Path, *, overwrite: bool) -> None:
    """InvalidRequest if a retraining cannot work or its results have no place in ``folder``; decodes no image."""
    check_precision(config.retrain.recipe.precision, pick_accelerator(config.accelerator))
    own = config.retrain
    check_processes(own.devices, own.num_nodes, config.accelerator, own.parallel_seeds)
    classes = len(open_source(config.data).classes)
    check_input(architecture, config.data.name, config.data.image_size, possible_channels(config), classes)
    check_results(folder, architecture, config.retrain, data_config(config), overwrite=overwrite)


def data_config(config: SearchConfig) -> dict[str, Any]:
    """What the images of a training depend on."""
    return {**config.data.deciding(), "seed": config.seed}
