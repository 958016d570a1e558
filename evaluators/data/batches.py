"""Which images make up which batch, and which part of a batch each of several processes takes.

Both follow from seed, epoch and pass alone, so that a resumed run sees the same batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

from evaluators.data.images import Images
from search_space.base.checks import check_seed


class BatchDraw(NamedTuple):
    """One batch to be made: positions in the image set, int64 (batch,), and a seed for the random changes to it."""

    indices: torch.Tensor
    seed: int


class ShuffledBatches(Sampler[BatchDraw]):
    """Batches that run through ``images`` positions in random order.

    Order and batch seeds depend on ``seed``, on the epoch last set (0 without `set_epoch`), and on how many passes have
    begun since: when a short loader is cycled beside a longer one, each pass has an order of its own.

    A last batch of a single image is left out if there are others (batch normalisation cannot train on one value per
    channel); which image that is changes from pass to pass.
    """

    def __init__(self, images: int, batch_size: int, seed: int = 0) -> None:
        self.images = images
        self.batch_size = batch_size
        self.seed = check_seed("seed", seed)
        self.epoch = 0
        self.passes = 0

    def set_epoch(self, epoch: int) -> None:
        """Begin ``epoch``, from 0; Lightning calls this before each epoch and after resuming."""
        self.epoch = epoch
        self.passes = 0

    def __len__(self) -> int:
        return math.ceil(self._used() / self.batch_size)

    def __iter__(self) -> Iterator[BatchDraw]:
        # As a generator this runs at the first batch: Lightning makes iterators that it never uses before it sets the
        # epoch, and they must not count as passes.
        place = (self.seed, self.epoch, self.passes)
        self.passes += 1
        # Number 0 is for the order and 1 + k for batch k: numpy treats missing trailing numbers as zeros.
        generator = torch.Generator().manual_seed(mixed_seed(*place, 0))
        order = torch.randperm(self.images, generator=generator)[: self._used()]
        for number, indices in enumerate(order.split(self.batch_size)):
            yield BatchDraw(indices, mixed_seed(*place, 1 + number))

    def _used(self) -> int:
        """Return how many images one pass uses."""
        lonely = self.batch_size > 1 and self.images > 1 and self.images % self.batch_size == 1
        return self.images - 1 if lonely else self.images


def mixed_seed(*numbers: int) -> int:
    """Return a seed of 63 bits that depends on all of ``numbers`` (each from 0), the same in every version of numpy."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


class SharedBatch(NamedTuple):
    """The part of a batch that one process trains on, as `ImageBatches` makes batches, and the weight of its mean loss.

    The mean over processes of the weighted gradients is the gradient of the whole batch, however unequal the parts.
    """

    images: torch.Tensor
    labels: torch.Tensor
    weight: float


def own_rows(count: int, rank: int, world_size: int) -> tuple[torch.Tensor, float]:
    """Return the rows (int64, on the CPU) of a batch of ``count`` images for process ``rank``, and their weight.

    A batch too small to give each process two images (batch norms need them) goes to all of them whole.
    """
    if world_size == 1 or count < 2 * world_size:
        return torch.arange(count), 1.0
    low, high = _bounds(count, rank, world_size)
    return torch.arange(low, high), (high - low) * world_size / count


def own_images(images: Images, rank: int, world_size: int) -> Images:
    """Return the images that process ``rank`` measures: all of them if there are fewer images than processes.

    Weighted by the number of images, the mean over processes is the mean over all images.
    """
    if world_size == 1 or len(images) < world_size:
        return images
    return images.subset(torch.arange(*_bounds(len(images), rank, world_size)))


def _bounds(count: int, rank: int, world_size: int) -> tuple[int, int]:
    return rank * count // world_size, (rank + 1) * count // world_size
