"""``sepnas generate``: generators trained on images, their samples, and how near these are to real ones."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from evaluators.data.images import ImageData, Images
from evaluators.measuring.statistics import summarise
from evaluators.training.devices import pick_accelerator
from evaluators.training.presets import recipe
from experiments.generation.measures import NEIGHBOURS, Features, nearness
from experiments.generation.networks import check_side
from experiments.generation.options import GenerationOptions
from experiments.generation.training import CHECKPOINT_FILE, Match
from experiments.options.config import SearchConfig
from experiments.runs.claimed_folder import ClaimedFolder, FolderKind
from experiments.runs.files import read_json, sweep, write_json
from experiments.runs.held import held
from experiments.runs.task import DataTask
from experiments.training.retrain import data_config, retrain_network, trained_seeds
from search_space.base.atomic import replacing
from search_space.base.checks import require
from search_space.hand_designed import baseline
from search_space.network import build
from search_space.weights import WEIGHTS_FILE, load_weights, save_weights

#: What is kept of one seed: the generator, pictures of it, and its measures, whose presence says that it is done.
GENERATOR_FILE, PICTURE, MEASURES_FILE = "generator.safetensors", "samples.png", "measures.json"
GENERATION = FolderKind(
    "a generator",
    ("seed[0-9]*", "classifier"),
    marker="generation.json",
    valuable=(f"seed*/{MEASURES_FILE}", f"seed*/{CHECKPOINT_FILE}", "classifier/seed*/result.json"),
    ignored=("save_every",),
)
#: The classifier by whose features is measured, and its width.
CLASSIFIER, _WIDTH = "resnet-20", 0.5
#: Test images at the least: distances reach to the third-nearest neighbour.
_LEAST = NEIGHBOURS + 2
#: Images in a row of a picture, and rows.
_GRID = 8


def generate(
    options: GenerationOptions, config: SearchConfig, out: Path, *, overwrite: bool = False
) -> list[dict[str, Any]]:
    """Train a generator for each seed of ``config.retrain`` in ``out``, and measure it.

    What is done is not done again, and a killed training goes on from its last resume point. Each seed's folder gets
    the generator's weights, samples, losses and measures; ``out/classifier`` the classifier, trained once.

    Returns:
        for each seed what its `MEASURES_FILE` holds.

    Raises:
        InvalidRequest: the images have a size that there is no generator for, or ``out`` holds something else.
        TrainingDiverged: a loss is no longer finite.
    """
    check_side(config.data.image_size)
    stored, why = config.data.stored_size, "leaves windows to be cut, and generators learn whole images"
    require(config.data.side == config.data.image_size, "data.stored_size", stored, why, "leave it out")
    task, device = DataTask(config.data, config.seed), pick_accelerator(config.accelerator)
    folder = ClaimedFolder(out, GENERATION)
    request = {**asdict(options), "data": data_config(config)}
    folder.check(request, overwrite=overwrite)
    test = task.data.sizes["test"]
    require(test >= _LEAST, "data.test", test, "images are too few to measure by", f"give {_LEAST} or more")
    images = task.data.train
    with held(out):
        folder.claim(request, overwrite=overwrite)
        features, accuracy = classifier_features(options, config, task, out)
        found = []
        for seed in config.retrain.seeds:
            home = out / f"seed{seed}"
            if not (home / MEASURES_FILE).exists():
                home.mkdir(exist_ok=True)
                sweep(home)
                made = _train_one(options, images, task.data, features, seed, device, home)
                write_json(home / MEASURES_FILE, {**made, "classifier_accuracy": accuracy})  # last: the seed is done
                (home / CHECKPOINT_FILE).unlink(missing_ok=True)
            found.append(read_json(home / MEASURES_FILE))
    return found


def classifier_features(
    options: GenerationOptions, config: SearchConfig, task: DataTask, out: Path
) -> tuple[Features, float]:
    """The features of the classifier in ``out`` and its test accuracy; it is trained on the same images if it is not
    there yet."""
    network = baseline(CLASSIFIER, **task.sizes, width=_WIDTH)
    own = replace(
        config.retrain,
        seeds=[0],
        train_on="train",
        recipe=recipe("cpu", epochs=options.classifier_epochs, warmup_epochs=0),
    )
    home = out / "classifier"
    result = retrain_network("classifier", network, replace(config, retrain=own, trackers=[]), home, task=task)
    built = build(network)
    load_weights(built, trained_seeds(home)[0] / WEIGHTS_FILE)
    return Features(built, task.data.mean, task.data.std), result.summary.mean


def _train_one(
    options: GenerationOptions,
    images: Images,
    data: ImageData,
    features: Features,
    seed: int,
    device: str,
    home: Path,
) -> dict[str, Any]:
    """Train by one seed, leave generator and samples in ``home``, and measure."""
    match = Match(options, images, seed, device, home)
    match.train(f"{options.kernel}, seed {seed}")
    save_weights(match.generator, home / GENERATOR_FILE)
    write_grid(match.generate(_GRID**2, 0), home / PICTURE)
    count = min(options.samples, len(data.test))
    held_out = features(_some(data.test, count, seed))
    made = features(match.generate(count, 1))
    # what real images of the training reach: no generator can be expected to be nearer
    real = features(_some(images, count, seed))
    return {
        "kernel": options.kernel,
        "seed": seed,
        "steps": options.steps,
        "parameters": sum(parameter.numel() for parameter in match.generator.parameters()),
        "images": count,
        "generated": asdict(nearness(made, held_out)),
        "training images": asdict(nearness(real, held_out)),
    }


def _some(images: Images, count: int, seed: int) -> Tensor:
    """``count`` of the images (or all), drawn by ``seed``."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images.gather(order[:count].sort().values).cpu()


def write_grid(images: Tensor, path: Path) -> None:
    """Write uint8 ``(n, colours, side, side)`` as one picture (PNG), eight in a row, enlarged where they are small."""
    count, colours, side, _ = images.shape
    enlarged = max(1, 64 // side)
    rows = -(-count // _GRID)
    canvas = np.full((rows * (side + 1) + 1, _GRID * (side + 1) + 1, colours), 255, dtype=np.uint8)
    for number, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        top, left = (place * (side + 1) + 1 for place in divmod(number, _GRID))
        canvas[top : top + side, left : left + side] = image
    picture = Image.fromarray(canvas[:, :, 0] if colours == 1 else canvas)
    size = (picture.width * enlarged, picture.height * enlarged)
    with replacing(path) as temporary:
        picture.resize(size, Image.Resampling.NEAREST).save(temporary, format="PNG")


def summary(found: list[dict[str, Any]]) -> str:
    """The measures of all seeds in words: mean and standard deviation, beside those of real images."""
    first = found[0]
    lines = [
        f"{first['kernel']}: {first['parameters']:,} parameters, {first['steps']:,} steps,"
        f" {first['images']:,} generated images against as many of the test; n = {len(found)}"
    ]
    for name in ("frechet", "precision", "recall"):
        cells = []
        for of in ("generated", "training images"):
            own = summarise([one[of][name] for one in found])
            cells.append(f"{own.mean:.3f}" + ("" if own.std is None else f" ± {own.std:.3f}"))
        lines.append(f"{name}: {cells[0]} (training images: {cells[1]})")
    lines.append(
        "measured by the features of a classifier of these images (right in"
        f" {100 * first['classifier_accuracy']:.1f} % of the test): comparable with each other, and no FID"
    )
    return "\n".join(lines)
