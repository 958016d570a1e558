"""Trained networks on disk, in runs and in bundles: their weights, and what they were trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from evaluators.data.options import DataOptions
from evaluators.training.recipes import Precision
from experiments.runs.files import read_json
from experiments.runs.folder import find_run
from experiments.training.preprocessing import Preprocessing
from experiments.training.retrain import ABOUT_FILE, DATA_FILE, RESULT_FILE, trained_seeds
from search_space.base.checks import plain
from search_space.base.errors import InvalidRequest
from search_space.weights import ARCHITECTURE_FILE, WEIGHTS_FILE

T = TypeVar("T")

_REMEDY = "retrain or export the network again"

#: in a bundle: what happens to a picture in front of the network
PREPROCESSING_FILE = "preprocessing.json"
#: in a bundle: how the network was trained, and how well it does
TRAINING_FILE = "training.json"


@dataclass(frozen=True)
class TrainedNetwork:
    """Files of one trained network, and what must be known to use it.

    Attributes:
        architecture: its architecture (JSON).
        weights: its weights (safetensors).
        preprocessing: of the images in front of it, with the names of the classes.
        seed: of the training.
        data: the data config of the training.
        split_seed: seed of the data's splits.
        trained_on: "train" or "train+validation".
        precision: of the arithmetic in which it was trained and tested.
        training: how it was trained and how well it does: what a bundle keeps of it (JSON).
    """

    architecture: Path
    weights: Path
    preprocessing: Preprocessing
    seed: int
    data: DataOptions
    split_seed: int
    trained_on: str
    precision: Precision
    training: dict[str, Any]


def is_bundle(folder: Path) -> bool:
    """Whether ``folder`` is what `sepnas export` left."""
    return (folder / WEIGHTS_FILE).is_file() and (folder / PREPROCESSING_FILE).is_file()


def find_trained(target: Path, seed: int | None = None) -> TrainedNetwork:
    """The network that ``target`` names: a run (its retrained winner), or what `sepnas retrain --out` or `export` left.

    ``seed`` picks the training; None the first of them. InvalidRequest if it is not there or a file of it is damaged.
    """
    if not target.is_dir():
        raise InvalidRequest(
            f"target: {target} is not a folder; give that of a run, of `sepnas retrain --out` or of `sepnas export`"
        )
    if is_bundle(target):
        if seed is not None:
            raise InvalidRequest(f"seed: {seed}, but {target} is an exported network, from one training; leave it out")
        preprocessing = read_preprocessing(target / PREPROCESSING_FILE)
        training = _read(target / TRAINING_FILE, _record)
        made = _read(target / TRAINING_FILE, _conditions)
        architecture, weights = target / ARCHITECTURE_FILE, target / WEIGHTS_FILE
    else:
        home, source = find_training(target, seed)
        own = int(source.name.removeprefix("seed"))
        made = _read(home / ABOUT_FILE, lambda values: _conditions({**values, "seed": own}))
        preprocessing = read_preprocessing(source / DATA_FILE)
        training = _training(home, source)
        architecture, weights = home / ARCHITECTURE_FILE, source / WEIGHTS_FILE
    return TrainedNetwork(architecture, weights, preprocessing, training=training, **made)


def find_training(target: Path, seed: int | None = None) -> tuple[Path, Path]:
    """The folder of all trainings of the network that a run or a folder of `sepnas retrain --out` has, and in it that
    of one training; arguments and errors as of `find_trained`.
    """
    home = target if (target / ABOUT_FILE).is_file() else find_run(target).retrain / "winner"
    done = trained_seeds(home)
    if not done:
        raise InvalidRequest(f"run: the winner of {target} is not trained yet; run `sepnas retrain {target}` first")
    if seed is not None and seed not in done:
        raise InvalidRequest(f"seed: {seed} was not trained; trained are {', '.join(map(str, done))}")
    return home, done[next(iter(done)) if seed is None else seed]


def read_preprocessing(path: Path) -> Preprocessing:
    """That in a file of a training or a bundle; InvalidRequest if it cannot be read or cannot be."""
    return _read(path, Preprocessing.of)


def _training(home: Path, source: Path) -> dict[str, Any]:
    """What a bundle keeps of the training in ``source``: its result, its conditions, the accuracies of all seeds."""
    accuracies = {str(seed): _read(path / RESULT_FILE, _accuracy) for seed, path in trained_seeds(home).items()}
    about = _read(home / ABOUT_FILE, dict)
    return _read(source / RESULT_FILE, lambda result: _record({**result, **about, "test_accuracies": accuracies}))


def _accuracy(values: Mapping[str, Any]) -> float:
    return float(values["test_accuracy"])


def _record(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` as ``training.json`` keeps them, once they have what a card tells."""
    for name, kind in {"recipe": dict, "train_on": str, "device": str, "test_images": int, "seconds": float}.items():
        if not isinstance(values[name], (kind, int) if kind is float else kind):
            raise ValueError(f"{name} {values[name]!r}")
    if not values["test_accuracies"] or not all(0 <= float(a) <= 1 for a in values["test_accuracies"].values()):
        raise ValueError(f"test_accuracies {values['test_accuracies']!r}")
    _accuracy(values)
    # a user's command line and folders are nobody else's business, and the architecture has a file of its own
    return {name: value for name, value in values.items() if name not in ("provenance", "architecture")}


def _conditions(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of ``training.json``, or of ``about.json`` with the seed of the training."""
    data = dict(values["data"])
    split_seed = int(data.pop("seed"))
    precision = values["recipe"]["precision"]
    if precision not in get_args(Precision):
        raise ValueError(f"precision {precision!r}")
    made = {"data": DataOptions(**data), "split_seed": split_seed, "trained_on": values["train_on"]}
    return made | {"precision": precision, "seed": int(values["seed"])}


def _read(path: Path, convert: Callable[[Mapping[str, Any]], T]) -> T:
    """``convert`` of the JSON object in ``path``; InvalidRequest if it cannot be read or converted."""
    try:
        values = read_json(path)
        if not isinstance(values, dict):
            raise ValueError("it holds no JSON object")
        return convert(values)
    except OSError as error:
        raise InvalidRequest(f"target: {path} cannot be read ({error.strerror}); {_REMEDY}") from None
    except (KeyError, TypeError, ValueError, OverflowError) as error:  # InvalidRequest is a ValueError
        why = str(error) if isinstance(error, InvalidRequest) else repr(error)
        raise InvalidRequest(f"target: {path} is damaged ({plain(why, 90)}); {_REMEDY}") from None
