"""Small spaces and tables that the strategy tests share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import RawFormatModelSpace
from torch import Tensor, nn

from evaluators.images import ImageData, ImageSet, channel_statistics
from evaluators.recipes import Recipe
from evaluators.supernet import supernet_evaluator
from search_space.cost_table import CostTable
from search_space.space import SepConvSpace

OPERATORS = ("dw_k3", "dw_k7", "xsep_k5", "sep_k3", "skip")


def random_table(rng: np.random.Generator, labels: int, candidates: int, largest: int = 10**6) -> CostTable:
    """Random costs, with fixed parts."""
    names = [f"block{index}" for index in range(labels)]
    return CostTable(
        candidates={name: tuple(f"op{k}" for k in range(candidates)) for name in names},
        costs={metric: {name: rng.integers(0, largest, candidates) for name in names} for metric in ("macs", "params")},
        fixed={"macs": int(rng.integers(0, largest)), "params": int(rng.integers(0, largest))},
    )


def all_samples(table: CostTable) -> Iterator[dict[str, str]]:
    """Every architecture of a small table."""
    for values in itertools.product(*table.candidates.values()):
        yield dict(zip(table.labels, values, strict=True))


def small_space() -> SepConvSpace:
    """A quarter-width MobileNetV3-Small for 8x8 grey images."""
    return SepConvSpace(image_size=8, in_channels=1, classes=4, width=0.25, operators=OPERATORS)


def small_images(count: int = 32) -> ImageData:
    """Grey 8x8 images of four classes that differ in brightness of their quarters."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 4
    images = torch.randint(0, 60, (count, 1, 8, 8), dtype=torch.uint8, generator=generator)
    for index, label in enumerate(labels.tolist()):
        row, column = divmod(label, 2)
        images[index, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 150
    image_set = ImageSet(images, labels)
    mean, std = channel_statistics(images)
    return ImageData("quarters", tuple("abcd"), image_set, image_set, image_set, mean, std)


def run_one_shot(
    strategy: Any, space: ModelSpace, *, epochs: int = 1, batch_size: int = 16, clips: bool = True
) -> None:
    """Run a one-shot strategy as the product does, on the CPU."""
    evaluator = supernet_evaluator(
        small_images(),
        Recipe(epochs=epochs, batch_size=batch_size, warmup_epochs=0, learning_rate=0.05),
        accelerator="cpu",
        clips_gradients=clips,
    )
    strategy(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())


class ForeignSpace(ModelSpace):
    """A space that somebody else wrote: two labelled choices on 8x8 grey images, no cost table of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = LayerChoice({"narrow": nn.Conv2d(1, 4, 1), "wide": nn.Conv2d(1, 4, 5, padding=2)}, label="first")
        self.second = LayerChoice({"narrow": nn.Conv2d(4, 4, 1), "wide": nn.Conv2d(4, 4, 5, padding=2)}, label="second")
        self.classifier = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.second(self.first(x)).mean((2, 3)))


FOREIGN_COSTS = CostTable(
    candidates={"first": ("narrow", "wide"), "second": ("narrow", "wide")},
    costs={
        "macs": {"first": np.array([256, 6400]), "second": np.array([1024, 25600])},
        "params": {"first": np.array([8, 104]), "second": np.array([20, 404])},
    },
    fixed={"macs": 16, "params": 20},
)
