"""Training of one architecture from scratch, by the same recipe for winners and baselines."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch.utils.data import DataLoader

from evaluators.augment import Augmentation
from evaluators.images import ImageData, ImageSet
from evaluators.loaders import make_loader
from evaluators.module import ClassificationModule
from evaluators.recipes import Recipe
from evaluators.trainer import Accelerator, make_trainer, pick_accelerator, resume_point
from search_space.architecture import Architecture
from search_space.errors import InvalidRequest
from search_space.network import Network, build

TrainOn = Literal["train", "train+validation"]


@dataclass(frozen=True)
class Trained:
    """A trained network and how well it does."""

    network: Network
    split: str
    accuracy: float
    loss: float
    seconds: float


def retrain(
    architecture: Architecture,
    data: ImageData,
    recipe: Recipe,
    *,
    seed: int = 0,
    train_on: TrainOn = "train+validation",
    measure_on: Literal["test", "validation"] = "test",
    accelerator: Accelerator = "auto",
    folder: Path | None = None,
    title: str = "retrain",
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> Trained:
    """Train ``architecture`` from scratch and measure the weights of the last epoch.

    ``seed`` sets initialisation, order of images and augmentation: the same seed on the same machine gives the same
    weights. With ``folder`` a killed run goes on from its last whole epoch. ``measure_on="validation"`` (for scoring
    candidates in a search) leaves the test split alone. InvalidRequest if architecture and data do not fit.
    """
    check_fit(architecture, data)
    if measure_on == "validation" and train_on != "train":
        raise InvalidRequest("train_on: train+validation cannot be measured on validation images; train on 'train'")
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(architecture)
    module = ClassificationModule(recipe, network)
    device = pick_accelerator(accelerator)
    trainer = make_trainer(
        recipe.epochs,
        title=title,
        accelerator=accelerator,
        folder=folder,
        gradient_clip=recipe.gradient_clip,
        on_epoch=on_epoch,
    )
    images = data.train if train_on == "train" else joined(data.train, data.validation)
    with warnings.catch_warnings():
        # the module can validate, but nothing is chosen by validation here
        warnings.filterwarnings("ignore", message="You defined a `validation_step` but have no `val_dataloader`")
        trainer.fit(
            module,
            training_loader(images, data, recipe, seed=seed, device=device),
            ckpt_path=resume_point(folder) if folder is not None else None,
            weights_only=True,
        )
    held_out = data.test if measure_on == "test" else data.validation
    figures = trainer.test(module, measuring_loader(held_out, data, recipe, device=device), verbose=False)[0]
    return Trained(
        network=network.cpu().eval(),
        split=measure_on,
        accuracy=figures["test_accuracy"],
        loss=figures["test_loss"],
        seconds=time.perf_counter() - start,
    )


def training_loader(
    images: ImageSet,
    data: ImageData,
    recipe: Recipe,
    *,
    seed: int,
    device: str,
    loader_class: type[DataLoader] = DataLoader,
) -> DataLoader:
    """Shuffled, augmented batches of ``images`` as the recipe wants them."""
    augmentation = Augmentation(recipe.crop_padding, recipe.flip) if recipe.crop_padding or recipe.flip else None
    return make_loader(
        images,
        data,
        recipe.batch_size,
        shuffle=True,
        augmentation=augmentation,
        seed=seed,
        device=device,
        loader_class=loader_class,
    )


def measuring_loader(images: ImageSet, data: ImageData, recipe: Recipe, *, device: str) -> DataLoader:
    """Batches of ``images`` in order, unchanged."""
    return make_loader(images, data, max(256, recipe.batch_size), shuffle=False, device=device)


def joined(first: ImageSet, second: ImageSet) -> ImageSet:
    """Both sets as one."""
    return ImageSet(torch.cat([first.images, second.images]), torch.cat([first.labels, second.labels]))


def check_fit(architecture: Architecture, data: ImageData) -> None:
    """InvalidRequest if the network's input or classes are not those of the data."""
    wanted = {"image_size": data.image_size, "in_channels": data.channels, "classes": len(data.classes)}
    for field, value in wanted.items():
        if getattr(architecture, field) != value:
            raise InvalidRequest(
                f"architecture.{field}: {getattr(architecture, field)}, but the data {data.name!r} has {value};"
                " make the architecture for these data, or load the data to fit it"
            )
