"""Where the weights of a trained network lie, and what it was trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
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
    """

    architecture: Path
    weights: Path
    name: str
    classes: tuple[str, ...]
    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    seed: int
    data: DataOptions
    split_seed: int
    trained_on: str
    precision: Precision


def find_trained(target: Path, seed: int | None = None) -> TrainedNetwork:
    """The network that ``target`` names: a run (its retrained winner), a folder of `sepnas retrain --out`, or one of
    `sepnas export`.

    ``seed`` picks the training; None the first of them. InvalidRequest if there is no such training or a file of it is
    damaged.
    """
    if not target.is_dir():
        raise InvalidRequest(
            f"target: {target} is not a folder; give that of a run, of `sepnas retrain --out` or of `sepnas export`"
        )
    if (target / WEIGHTS_FILE).is_file() and (target / DATA_FILE).is_file():
        if seed is not None:
            raise InvalidRequest(f"seed: {seed}, but {target} is an exported network, of one training; leave it out")
        home = source = target
        conditions = target / TRAINING_FILE
    else:
        home, source = find_training(target, seed)
        conditions = home / ABOUT_FILE
        seed = int(source.name.removeprefix("seed"))
    return TrainedNetwork(
        architecture=home / ARCHITECTURE_FILE,
        weights=source / WEIGHTS_FILE,
        **_read_conditions(conditions, seed),
        **_read_normalisation(source / DATA_FILE),
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


def _read_conditions(path: Path, seed: int | None) -> dict[str, Any]:
    """The images of a training, their splits and its arithmetic, as ``about.json`` keeps them; its seed as well, where
    ``seed`` is None, from ``training.json``."""
    values = _read_object(path)
    try:
        data = dict(values["data"])
        split_seed = int(data.pop("seed"))
        precision = values["recipe"]["precision"]
        if precision not in get_args(Precision):
            raise ValueError(f"precision {precision!r}")
        return {
            "seed": int(values["seed"]) if seed is None else seed,
            "data": DataOptions(**data),
            "split_seed": split_seed,
            "trained_on": str(values["train_on"]),
            "precision": precision,
        }
    except (KeyError, TypeError, ValueError, InvalidRequest) as error:
        raise _damaged(path, repr(error)) from None


def _read_normalisation(path: Path) -> dict[str, Any]:
    """What ``data.json`` says."""
    values = _read_object(path)
    try:
        channels = int(values["channels"])
        mean, std = (tuple(map(float, values[name])) for name in ("mean", "std"))
        for name, numbers in (("mean", mean), ("std", std)):
            if len(numbers) != channels or not all(map(math.isfinite, numbers)):
                raise ValueError(f"{name} is not one finite number per channel")
        if min(std) <= 0:
            raise ValueError("std is not above 0")
        return {
            "name": str(values["name"]),
            "classes": tuple(map(str, values["classes"])),
            "image_size": int(values["image_size"]),
            "channels": channels,
            "mean": mean,
            "std": std,
        }
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, repr(error)) from None


def _read_object(path: Path) -> Mapping[str, Any]:
    try:
        values = read_json(path)
    except OSError as error:
        raise InvalidRequest(f"target: {path} cannot be read ({error.strerror}); {_REMEDY}") from None
    except ValueError as error:  # broken JSON or broken UTF-8
        raise _damaged(path, str(error)) from None
    if not isinstance(values, dict):
        raise _damaged(path, "it holds no JSON object")
    return values


def _damaged(path: Path, why: str) -> InvalidRequest:
    return InvalidRequest(f"target: {path} is damaged ({why}); {_REMEDY}")
