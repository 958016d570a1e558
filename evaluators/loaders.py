"""Batches from images in memory, each made in a few tensor operations rather than image by image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from evaluators.augment import Augmentation, normalise
from evaluators.batches import BatchDraw, OrderedBatches, ShuffledBatches
from evaluators.images import ImageData, ImageSet
from search_space.errors import InvalidRequest


class ImageBatches(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """An image set that is asked for whole batches.

    Args:
        image_set: n images.
        mean: per channel, in units of the 0..1 pixel scale.
        std: likewise.
        augmentation: applied to batches drawn by `ShuffledBatches`.
        device: where the uint8 images are kept and batches are made; where they are now if None.

    Raises:
        InvalidRequest: the device does not exist here or is too small.
    """

    def __init__(
        self,
        image_set: ImageSet,
        mean: Sequence[float],
        std: Sequence[float],
        augmentation: Augmentation | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        try:
            self.images = image_set.images.to(device)
            self.labels = image_set.labels.to(self.images.device)
        # torch asserts rather than raises where it was built without the device.
        except (RuntimeError, AssertionError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InvalidRequest(
                f"device={str(device)!r} cannot hold the images ({reason}): give another, as cpu"
            ) from error
        self.mean = torch.tensor(mean, dtype=torch.float32, device=self.images.device)
        self.std = torch.tensor(std, dtype=torch.float32, device=self.images.device)
        self.augmentation = augmentation

    def __len__(self) -> int:
        """Return the number of images, not of batches."""
        return len(self.labels)

    def __getitem__(self, batch: BatchDraw | torch.Tensor | Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (images, labels): float32 (batch, channels, height, width), normalised, and int64 (batch,).

        Args:
            batch: a draw, or plain positions; these carry no seed, so their images are never augmented.
        """
        indices = batch.indices if isinstance(batch, BatchDraw) else torch.as_tensor(batch, dtype=torch.int64)
        indices = indices.to(self.images.device)
        images = self.images[indices]
        if self.augmentation is not None and isinstance(batch, BatchDraw):
            images = self.augmentation(images, torch.Generator().manual_seed(batch.seed))
        return normalise(images, self.mean, self.std), self.labels[indices]


def make_loader(
    image_set: ImageSet,
    data: ImageData,
    batch_size: int,
    *,
    shuffle: bool,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    loader_class: type[DataLoader[Any]] = DataLoader,
) -> DataLoader[Any]:
    """Return a loader of [images, labels] batches as `ImageBatches` makes them; its `len` is the number of batches.

    Args:
        image_set: the images, usually a split of `data`.
        data: where mean and std come from.
        batch_size: images per batch; the last may be shorter.
        shuffle: in the random order of `ShuffledBatches` (for training), or in the given order, each image once.
        augmentation: random changes; needs `shuffle`.
        seed: of the shuffling and the augmentation; without `shuffle` nothing is random.
        device: keep the images there; batches are then made there too.
        loader_class: a DataLoader class; NNI's one-shot strategies need ``nni.nas.evaluator.pytorch.DataLoader``.

    Raises:
        InvalidRequest: no images, a batch size or seed out of range, an augmentation without `shuffle`, images with
            another number of channels than `data`, or an unusable device.
    """
    if len(image_set) == 0:
        raise InvalidRequest("image_set holds no image: give it at least one")
    if image_set.images.shape[1] != data.channels:
        raise InvalidRequest(
            f"image_set has {image_set.images.shape[1]} channels and {data.name!r} has {data.channels}: "
            "take both from the same data"
        )
    if augmentation is not None and not shuffle:
        raise InvalidRequest("augmentation needs shuffle=True: leave it out where figures are measured")
    sampler: ShuffledBatches | OrderedBatches
    if shuffle:
        sampler = ShuffledBatches(len(image_set), batch_size, seed)
    else:
        sampler = OrderedBatches(len(image_set), batch_size)
    batches = ImageBatches(image_set, data.mean, data.std, augmentation, device)
    # A DataLoader draws a number at each pass even without workers; from its own generator, it leaves the global
    # stream, which initialises weights and drives dropout, alone.
    return loader_class(batches, sampler=sampler, batch_size=None, generator=torch.Generator().manual_seed(0))
