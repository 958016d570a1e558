"""The batches that a recipe asks for, and whether a network takes them."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader

from evaluators.augment.augmentation import Augmentation
from evaluators.data.images import ImageData, Images
from evaluators.data.loaders import make_loader
from evaluators.training.recipes import Recipe
from search_space.base.checks import shown
from search_space.base.errors import InvalidRequest
from search_space.blueprint import AnyNetwork


def training_loader(images: Images, data: ImageData, recipe: Recipe, *, seed: int, **options: Any) -> DataLoader:
    """Shuffled, augmented batches of ``images`` as the recipe asks; ``options`` are further ones of `make_loader`."""
    augmentation = Augmentation.of(recipe)
    return make_loader(images, data, recipe.batch_size, shuffle=True, augmentation=augmentation, seed=seed, **options)


def check_augmentation(recipe: Recipe, channels: int, image_size: int) -> None:
    """InvalidRequest if the recipe's changes to images cannot be made here, or not to such images."""
    if (augmentation := Augmentation.of(recipe)) is not None:
        augmentation.check(channels, image_size)


def measuring_loader(images: Images, data: ImageData, recipe: Recipe, **options: Any) -> DataLoader:
    """Batches of ``images`` in order, unchanged; ``options`` are further ones of `make_loader`."""
    return make_loader(images, data, max(256, recipe.batch_size), shuffle=False, **options)


def check_fit(architecture: AnyNetwork, data: ImageData) -> None:
    """InvalidRequest if the network's input or classes are not those of the data."""
    check_input(architecture, data.name, data.image_size, data.channels, len(data.classes))


def check_input(architecture: AnyNetwork, name: str, image_size: int, channels: int, classes: int) -> None:
    """`check_fit` before the images of the data ``name`` are decoded."""
    for field, value in {"image_size": image_size, "in_channels": channels, "classes": classes}.items():
        own = getattr(architecture, field)
        why = f"but the data {shown(name)} has {value}"
        remedy = "make the architecture for these data, or load the data to fit it"
        if own != value:
            raise InvalidRequest(f"architecture.{field}: {own}, {why}; {remedy}")
