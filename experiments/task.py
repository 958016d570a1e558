"""What a config means: images, the space for them, and the budget checked -- cheap questions first."""

from __future__ import annotations

from dataclasses import dataclass

from evaluators.data import class_names, describe, load_data
from evaluators.images import ImageData
from evaluators.trainer import pick_accelerator
from experiments.config import DataConfig, SearchConfig
from experiments.seeds import stream_seed
from search_space.candidates import SearchSpace
from search_space.errors import InvalidRequest
from strategies.feasible import FeasibleSet, format_ranges


@dataclass(frozen=True)
class Task:
    """Images and the feasible part of the space for them."""

    data: ImageData
    space: SearchSpace
    feasible: FeasibleSet


def check_request(config: SearchConfig) -> None:
    """InvalidRequest for names, operators and budgets that cannot work; decodes no image.

    Whether images are grey can need a look into every file, so with ``channels: auto`` a budget is refused here only
    if it fails for grey and for colour images (they differ in the stem alone).
    """
    pick_accelerator(config.accelerator)
    classes = len(class_names(config.data.name))
    channels = (1, 3) if config.data.channels == "auto" else (config.data.channels,)
    if config.data.name == "digits" and config.data.channels == "auto":
        channels = (1,)  # they are grey
    refused = None
    for count in channels:
        try:
            FeasibleSet(_space(config, count, classes).cost_table, config.budget)
            return
        except InvalidRequest as error:
            refused = error
    if refused is not None:
        raise refused


def load_task(config: SearchConfig) -> Task:
    """Load the images and check the budget exactly; prints what is searched and what is reachable."""
    data = load_images(config.data, config.seed)
    print(describe(data))
    space = _space(config, data.channels, len(data.classes))
    table = space.cost_table
    print(f"space: {space.size:.3g} architectures; reachable are {format_ranges(table)}")
    feasible = FeasibleSet(table, config.budget)
    print(f"budget: {config.budget}")
    return Task(data, space, feasible)


def load_images(config: DataConfig, seed: int) -> ImageData:
    """The images of a data config, split by a stream of ``seed``."""
    data = load_data(
        config.name,
        image_size=config.image_size,
        channels=config.channels,
        validation=config.validation,
        test=config.test,
        max_train_images=config.max_train_images,
        on_corrupt=config.on_corrupt,
        seed=stream_seed(seed, "splits"),
    )
    if data.skipped:
        shown = ", ".join(data.skipped[:3]) + (", ..." if len(data.skipped) > 3 else "")
        print(f"skipped {len(data.skipped)} unreadable images: {shown}")
    return data


def _space(config: SearchConfig, channels: int, classes: int) -> SearchSpace:
    return SearchSpace.create(
        config.space.macro,
        image_size=config.data.image_size,
        in_channels=channels,
        classes=classes,
        width=config.space.width,
        operators=config.space.operators,
    )
