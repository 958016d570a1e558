"""Where the weights of a trained network lie, and what it was trained on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from evaluators.data.options import DataOptions
from evaluators.training.recipes import Precision
from experiments.runs.files import read_json
from experiments.runs.folder import find_run
from experiments.training.retrain import ABOUT_FILE, DATA_FILE, trained_seeds
from search_space.base.errors import InvalidRequest
from search_space.weights import ARCHITECTURE_FILE, WEIGHTS_FILE

_REMEDY = "retrain or export the network again"

#: in an exported folder: how the network was trained, and how well it does
TRAINING_FILE = "training.json"


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
        seed: of the training.
        data: the data config of the training.
        split_seed: seed of the data's splits.
        trained_on: "train" or "train+validation".
        precision: of the arithmetic in which it was trained and tested.

    A network that an older release exported does not say the last five: seeds and ``trained_on`` are None, ``data`` is
    what is known, and the precision fp32.
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
    data: DataOptions
    split_seed: int | None
    trained_on: str | None
    precision: Precision


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
    home, source = find_training(target, seed)
    return TrainedNetwork(
        architecture=home / ARCHITECTURE_FILE,
        weights=source / WEIGHTS_FILE,
        seed=int(source.name.removeprefix("seed")),
        **_origin(home / ABOUT_FILE),
        **_normalisation(source / DATA_FILE),
    )


def find_training(target: Path, seed: int | None = None) -> tuple[Path, Path]:
    """The folder of all trainings of the network that ``target`` names, a run or a folder of `sepnas retrain --out`,
    and in it that of one training, as `find_trained`.
    """
    home = target if (target / ABOUT_FILE).is_file() else find_run(target).retrain / "winner"
    return home, _training(home, f"run: the winner of {target}", f"sepnas retrain {target}", seed)


def _training(home: Path, whose: str, remedy: str, seed: int | None) -> Path:
    """The folder in ``home`` of the training by ``seed``, None for the first; InvalidRequest if it is not there."""
    done = trained_seeds(home)
    if not done:
        raise InvalidRequest(f"{whose} is not trained yet; run `{remedy}` first")
    if seed is None:
        return next(iter(done.values()))
    if seed not in done:
        raise InvalidRequest(f"seed: {seed} was not trained; trained are {', '.join(map(str, done))}")
    return done[seed]


def _exported(folder: Path) -> TrainedNetwork:
    told = _normalisation(folder / DATA_FILE)
    training = folder / TRAINING_FILE
    if training.is_file():
        origin = {**_origin(training), "seed": _object(training).get("seed")}
    else:
        data = DataOptions(
            name=told["name"],
            image_size=told["image_size"],
            channels=told["channels"],
            stored_size=_object(folder / DATA_FILE).get("stored_size"),
        )
        origin = {"data": data, "split_seed": None, "trained_on": None, "seed": None, "precision": "fp32"}
    return TrainedNetwork(architecture=folder / ARCHITECTURE_FILE, weights=folder / WEIGHTS_FILE, **origin, **told)


def _origin(path: Path) -> dict[str, Any]:
    """The images of a training and their splits, as ``about.json`` or ``training.json`` tells them."""
    about = _object(path)
    try:
        data = dict(about["data"])
        split_seed = int(data.pop("seed"))
        # a field that this release does not know is no reason to refuse a measurement
        known = {field.name for field in fields(DataOptions)}
        config = DataOptions(**{name: value for name, value in data.items() if name in known})
        precision = about["recipe"]["precision"]
        if precision not in get_args(Precision):
            raise ValueError(f"precision {precision!r}")
        return {"data": config, "split_seed": split_seed, "trained_on": str(about["train_on"]), "precision": precision}
    except (KeyError, TypeError, ValueError, InvalidRequest) as error:
        raise InvalidRequest(f"target: {path} is damaged ({error!r}); {_REMEDY}") from None


def _normalisation(path: Path) -> dict[str, Any]:
    """What ``data.json`` says."""
    values = _object(path)
    try:
        found: dict[str, Any] = {
            "name": str(values["name"]),
            "classes": tuple(map(str, values["classes"])),
            "image_size": int(values["image_size"]),
            "channels": int(values["channels"]),
            "mean": tuple(map(float, values["mean"])),
            "std": tuple(map(float, values["std"])),
        }
        for name in ("mean", "std"):
            if len(found[name]) != found["channels"] or not all(map(math.isfinite, found[name])):
                raise ValueError(f"{name} is not one finite number a channel")
        if min(found["std"]) <= 0:
            raise ValueError("std is not above 0")
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRequest(f"target: {path} is damaged ({error!r}); {_REMEDY}") from None
    return found


def _object(path: Path) -> Mapping[str, Any]:
    try:
        values = read_json(path)
    except OSError as error:
        raise InvalidRequest(f"target: {path} cannot be read ({error.strerror}); {_REMEDY}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"target: {path} is damaged ({error}); {_REMEDY}") from None
    if not isinstance(values, dict):
        raise InvalidRequest(f"target: {path} is damaged (it holds no JSON object); {_REMEDY}")
    return values
