"""Trained networks on disk: their weights, what they were trained on, and their export as files that need no NNI."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from evaluators.data.options import DataOptions
from evaluators.training.recipes import Precision
from experiments.runs.claimed_folder import ClaimedFolder, FolderKind
from experiments.runs.files import copy_file, read_json, write_json, write_text
from experiments.runs.folder import find_run
from experiments.training.retrain import ABOUT_FILE, DATA_FILE, RESULT_FILE, read_conditions, trained_seeds
from search_space.base.errors import InvalidRequest
from search_space.weights import ARCHITECTURE_FILE, WEIGHTS_FILE

_REMEDY = "retrain or export the network again"

#: in an exported folder: how the network was trained, and how well it does
TRAINING_FILE = "training.json"
#: an export takes no folder in which anything else is, unless asked to
EXPORT = FolderKind("an export", ("*",))


@dataclass(frozen=True)
class TrainedNetwork:
    """Files of one trained network, and what must be known to use it.

    Attributes:
        architecture: its architecture (JSON).
        weights: its weights (safetensors).
        classes: names of the classes, in the order of its outputs.
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
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    seed: int
    data: DataOptions
    split_seed: int
    trained_on: str
    precision: Precision


def find_trained(target: Path, seed: int | None = None) -> TrainedNetwork:
    """The network that ``target`` names: a run (its retrained winner), or what `sepnas retrain --out` or `export` left.

    ``seed`` picks the training; None the first of them. InvalidRequest if it is not there or a file of it is damaged.
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
    made = _read(conditions, lambda values: _conditions(values, seed)) | _read(source / DATA_FILE, _normalisation)
    return TrainedNetwork(architecture=home / ARCHITECTURE_FILE, weights=source / WEIGHTS_FILE, **made)


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


def _conditions(values: Mapping[str, Any], seed: int | None) -> dict[str, Any]:
    """Of ``about.json``; or of ``training.json``, which has the seed of the training too, with ``seed`` None."""
    data = dict(values["data"])
    split_seed = int(data.pop("seed"))
    precision = values["recipe"]["precision"]
    if precision not in get_args(Precision):
        raise ValueError(f"precision {precision!r}")
    made = {"data": DataOptions(**data), "split_seed": split_seed, "trained_on": values["train_on"]}
    return made | {"precision": precision, "seed": int(values["seed"]) if seed is None else seed}


def _normalisation(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of ``data.json``."""
    mean, std = (tuple(map(float, values[name])) for name in ("mean", "std"))
    for name, numbers in (("mean", mean), ("std", std)):
        if len(numbers) != values["channels"] or not all(map(math.isfinite, numbers)):
            raise ValueError(f"{name} is not one finite number per channel")
    if min(std) <= 0:
        raise ValueError("std is not above 0")
    return {"classes": tuple(map(str, values["classes"])), "mean": mean, "std": std}


def _read(path: Path, convert: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """``convert`` of the JSON object in ``path``; InvalidRequest if it cannot be read or converted."""
    try:
        values = read_json(path)
        if not isinstance(values, dict):
            raise ValueError("it holds no JSON object")
        return convert(values)
    except OSError as error:
        raise InvalidRequest(f"target: {path} cannot be read ({error.strerror}); {_REMEDY}") from None
    except (KeyError, TypeError, ValueError) as error:  # broken JSON, broken UTF-8 and InvalidRequest are ValueErrors
        raise InvalidRequest(f"target: {path} is damaged ({error!r}); {_REMEDY}") from None


_LOADER = '''"""Loads the exported network; needs torch and sepnas's package `search_space`, no NNI.

    python load.py IMAGE...    prints the class of each image (needs Pillow as well)
"""

import json
import sys
from pathlib import Path

import torch

from search_space import load_network

HERE = Path(__file__).parent
DATA = json.loads((HERE / "data.json").read_text())


def load():
    """The network in evaluation mode: (batch, channels, size, size), normalised -> logits (batch, classes)."""
    return load_network(HERE)


def normalise(images):
    """uint8 (batch, channels, size, size) -> what the network was trained on."""
    mean = torch.tensor(DATA["mean"]).view(1, -1, 1, 1)
    std = torch.tensor(DATA["std"]).view(1, -1, 1, 1)
    return (images.float() / 255 - mean) / std


def read(path):
    """An 8-bit image file as uint8 (1, channels, size, size): over white if it is transparent, shorter side resized,
    centre cropped as in the training's tests."""
    from PIL import Image, ImageOps

    size, channels = DATA["image_size"], DATA["channels"]
    stored = DATA["stored_size"]
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
        if "A" in image.getbands() or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if channels == 1 else "RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.resize((stored, stored), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    margin = (stored - size) // 2
    image = image.crop((margin, margin, margin + size, margin + size))
    return torch.tensor(list(image.tobytes()), dtype=torch.uint8).view(1, size, size, channels).permute(0, 3, 1, 2)


if __name__ == "__main__":
    network = load()
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters, {len(DATA['classes'])} classes")
    for name in sys.argv[1:]:
        with torch.inference_mode():
            probabilities = network(normalise(read(name))).softmax(1)[0]
        best = int(probabilities.argmax())
        print(f"{name}: {DATA['classes'][best]} ({probabilities[best]:.1%})")
'''


def export(target: Path, to: Path, *, seed: int | None = None, overwrite: bool = False) -> Path:
    """Write architecture, weights, preprocessing, training and a loader of a retrained network to ``to``.

    ``target`` is a run, whose winner is taken, or a folder of `sepnas retrain --out`. ``seed`` picks the training; None
    the first of them (not the best: picking by test accuracy would bias it). InvalidRequest if it is not retrained, or
    ``to`` is not empty (unless ``overwrite``, which replaces only the exported files).
    """
    home, source = find_training(target, seed)
    ClaimedFolder(to, EXPORT, field="to").claim(overwrite=overwrite)
    for path in (home / ARCHITECTURE_FILE, source / WEIGHTS_FILE, source / DATA_FILE):
        copy_file(path, to / path.name)
    result = {name: value for name, value in read_json(source / RESULT_FILE).items() if name != "provenance"}
    write_json(to / TRAINING_FILE, {**result, **read_conditions(home)})
    write_text(to / "load.py", _LOADER)
    return to
