"""Which images make up which batch: a function of seed, epoch and restart, so that a resumed run sees the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

from evaluators.base.checks import check_seed, check_whole


class BatchDraw(NamedTuple):
    """One batch to be made.

    Args:
        indices: int64, (batch,), positions in the image set.
        seed: for the random changes to this batch.
    """

    indices: torch.Tensor
    seed: int


class OrderedBatches(Sampler[torch.Tensor]):
    """Index tensors that run through `images` positions in order; the last may be shorter."""

    def __init__(self, images: int, batch_size: int) -> None:
        self.images = check_whole("images", images, 1)
        self.batch_size = check_whole("batch_size", batch_size, 1)

    def __len__(self) -> int:
        return -(-self.images // self.batch_size)

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(torch.arange(self.images).split(self.batch_size))


class ShuffledBatches(Sampler[BatchDraw]):
    """Batches that run through `images` positions in random order.

    Order and batch seeds depend on `seed`, on the epoch last set, and on how many passes have begun since: a second
    pass within one epoch, as when a short loader is cycled beside a longer one, is shuffled anew. Without
    `set_epoch` all passes count within epoch 0, so each has an order of its own.

    A last batch of a single image is left out if there are others (batch normalisation cannot train on one value per
    channel); which image that is changes from pass to pass.

    Raises:
        InvalidRequest: `images` or `batch_size` is not a whole number from 1, or `seed` does not fit 32 bits.
    """

    def __init__(self, images: int, batch_size: int, seed: int = 0) -> None:
        self.images = check_whole("images", images, 1)
        self.batch_size = check_whole("batch_size", batch_size, 1)
        self.seed = check_seed(seed)
        self.epoch = 0
        self.passes = 0

    def set_epoch(self, epoch: int) -> None:
        """Begin `epoch`, from 0; Lightning calls this before each epoch and after resuming."""
        self.epoch = check_whole("epoch", epoch, 0)
        self.passes = 0

    def __len__(self) -> int:
        return -(-self._used() // self.batch_size)

    def __iter__(self) -> Iterator[BatchDraw]:
        # As a generator this runs at the first batch, so an iterator that is made but never used does not count as a
        # pass; Lightning makes such iterators before it sets the epoch.
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
    """Return a seed of 63 bits that depends on all of `numbers` (each from 0), the same in every version of numpy."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
