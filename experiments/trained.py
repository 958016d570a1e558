"""Where the weights of a trained network lie, and what it was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from experiments.config import DataConfig
from experiments.files import read_json
from experiments.retrain import ABOUT_FILE, DATA_FILE, RESULT_FILE
from experiments.run_folder import find_run
from search_space.errors import InvalidRequest
from search_space.weights import ARCHITECTURE_FILE, WEIGHTS_FILE


@dataclass(frozen=True)
class TrainedNetwork:
    """Files of one trained network.

    Attributes:
        architecture: its architecture (JSON).
        weights: its weights (safetensors).
        name: of the data it was trained on.
        classes: their names, in the order of its outputs.
        image_size: side in pixels.
        channels: of the images, 1 or 3.
        mean: per channel, in units of the 0..1 pixel scale: what is subtracted from images.
        std: likewise: what they are divided by.
        seed: of the training; None for an exported network, which does not say.
        data: the data config of the training; of an exported network what is known of it.
        split_seed: seed of the data's splits; None for an exported network.
        trained_on: "train" or "train+validation"; None for an exported network.
    """

    architecture: Path
    weights: Path
    name: str
    classes: tuple[str, ...]
    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    seed: int | None
    data: DataConfig
    split_seed: int | None
    trained_on: str | None


def find_trained(target: Path, seed: int | None = None) -> TrainedNetwork:
    """The network that ``target`` names: a run (its retrained winner), a folder of `sepnas retrain --out`, or one of
    `sepnas export`.

    ``seed`` picks the training; None the first of them. InvalidRequest if there is no such training or a file of it is
    damaged.
    """
    if not target.is_dir():
        raise InvalidRequest(
            f"target: {target} is no folder; give the folder of a run, of `sepnas retrain --out` or of `sepnas export`"
        )
    if (target / WEIGHTS_FILE).is_file() and (target / DATA_FILE).is_file():
        if seed is not None:
            raise InvalidRequest(f"seed: {seed}, but {target} is an exported network, of one training; leave it out")
        return _exported(target)
    home = target if (target / ABOUT_FILE).is_file() else find_run(target).retrain / "winner"
    source = _training(home, f"run: the winner of {target}", f"sepnas retrain {target}", seed)
    about = _object(home / ABOUT_FILE)
    try:
        data = dict(about["data"])
        split_seed = int(data.pop("seed"))
        # a field that this release does not know is no reason to refuse a measurement
        known = {field.name for field in fields(DataConfig)}
        config = DataConfig(**{name: value for name, value in data.items() if name in known})
        trained_on = str(about["train_on"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRequest(f"target: {home / ABOUT_FILE} is damaged ({error!r}); retrain the network") from None
    return TrainedNetwork(
        architecture=home / ARCHITECTURE_FILE,
        weights=source / WEIGHTS_FILE,
        seed=int(source.name.removeprefix("seed")),
        data=config,
        split_seed=split_seed,
        trained_on=trained_on,
        **_normalisation(source / DATA_FILE),
    )


def _training(home: Path, whose: str, remedy: str, seed: int | None) -> Path:
    """The folder in ``home`` of the training by ``seed``, None for the first; InvalidRequest if it is not there."""
    done = sorted(
        (path.parent for path in home.glob(f"seed*/{RESULT_FILE}")),
        key=lambda path: int(path.name.removeprefix("seed")),
    )
    if not done:
        raise InvalidRequest(f"{whose} is not trained yet; run `{remedy}` first")
    if seed is None:
        return done[0]
    source = home / f"seed{seed}"
    if source not in done:
        trained = ", ".join(path.name.removeprefix("seed") for path in done)
        raise InvalidRequest(f"seed: {seed} was not trained; trained are {trained}")
    return source


def _exported(folder: Path) -> TrainedNetwork:
    told = _normalisation(folder / DATA_FILE)
    return TrainedNetwork(
        architecture=folder / ARCHITECTURE_FILE,
        weights=folder / WEIGHTS_FILE,
        seed=None,
        data=DataConfig(name=told["name"], image_size=told["image_size"], channels=told["channels"]),
        split_seed=None,
        trained_on=None,
        **told,
    )


def _normalisation(path: Path) -> dict[str, Any]:
    """What ``data.json`` says."""
    values = _object(path)
    try:
        found = {
            "name": str(values["name"]),
            "classes": tuple(map(str, values["classes"])),
            "image_size": int(values["image_size"]),
            "channels": int(values["channels"]),
            "mean": tuple(map(float, values["mean"])),
            "std": tuple(map(float, values["std"])),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRequest(f"target: {path} is damaged ({error!r}); export or retrain the network again") from None
    return found


def _object(path: Path) -> Mapping[str, Any]:
    try:
        values = read_json(path)
    except OSError as error:
        raise InvalidRequest(f"target: {path} cannot be read ({error.strerror})") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"target: {path} is damaged ({error})") from None
    if not isinstance(values, dict):
        raise InvalidRequest(f"target: {path} is damaged (it holds no JSON object)")
    return values
