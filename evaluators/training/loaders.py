"""The batches that a recipe asks for, and whether a network takes them."""

from __future__ import annotations

from torch.utils.data import DataLoader

from evaluators.augment.augmentation import Augmentation
from evaluators.data.images import ImageData, Images
from evaluators.data.loaders import make_loader
from evaluators.training.recipes import Recipe
from search_space.architecture import Architecture
from search_space.base.errors import InvalidRequest


def training_loader(
    images: Images,
    data: ImageData,
    recipe: Recipe,
    *,
    seed: int,
    device: str,
    loader_class: type[DataLoader] = DataLoader,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader:
    """Shuffled, augmented batches of ``images`` as the recipe wants them; of several processes, each has its part."""
    return make_loader(
        images,
        data,
        recipe.batch_size,
        shuffle=True,
        augmentation=Augmentation.of(recipe),
        seed=seed,
        device=device,
        loader_class=loader_class,
        rank=rank,
        world_size=world_size,
    )


def measuring_loader(
    images: Images, data: ImageData, recipe: Recipe, *, device: str, rank: int = 0, world_size: int = 1
) -> DataLoader:
    """Batches of ``images`` in order, unchanged; of several processes, of the own part of the images."""
    size = max(256, recipe.batch_size)
    return make_loader(images, data, size, shuffle=False, device=device, rank=rank, world_size=world_size)


def check_fit(architecture: Architecture, data: ImageData) -> None:
    """InvalidRequest if the network's input or classes are not those of the data."""
    check_input(architecture, data.name, data.image_size, (data.channels,), len(data.classes))


def check_input(
    architecture: Architecture, name: str, image_size: int, channels: tuple[int, ...], classes: int
) -> None:
    """`check_fit` before the images of the data ``name`` are decoded, with the channels that they may have."""
    wanted = {"image_size": (image_size,), "in_channels": channels, "classes": (classes,)}
    for field, values in wanted.items():
        if getattr(architecture, field) not in values:
            raise InvalidRequest(
                f"architecture.{field}: {getattr(architecture, field)}, but the data {name!r} has"
                f" {' or '.join(map(str, values))}; make the architecture for these data, or load the data to fit it"
            )
