"""Which part of the images each of several processes takes that train or measure together."""

from __future__ import annotations

from typing import NamedTuple

import torch

from evaluators.data.images import Images


class SharedBatch(NamedTuple):
    """The part of a batch that one process trains on.

    The mean over processes of the weighted gradients is the gradient of the whole batch, however unequal the parts.

    Args:
        images: float32, (k, channels, height, width).
        labels: int64 (k,), or probabilities float32 (k, classes).
        weight: of their mean loss.
    """

    images: torch.Tensor
    labels: torch.Tensor
    weight: float


def own_rows(count: int, rank: int, world_size: int) -> tuple[torch.Tensor, float]:
    """The rows (int64, on the CPU) of a batch of ``count`` images for process ``rank``, and the weight of their loss.

    A batch too small to give each process two images (batch norms need them) goes to all of them whole.
    """
    if world_size == 1 or count < 2 * world_size:
        return torch.arange(count), 1.0
    low, high = _bounds(count, rank, world_size)
    return torch.arange(low, high), (high - low) * world_size / count


def own_images(images: Images, rank: int, world_size: int) -> Images:
    """The images that process ``rank`` measures; all of them, in every process, if there are fewer than processes.

    Weighted by the number of images, the mean over processes is the mean over all images.
    """
    if world_size == 1 or len(images) < world_size:
        return images
    return images.subset(torch.arange(*_bounds(len(images), rank, world_size)))


def _bounds(count: int, rank: int, world_size: int) -> tuple[int, int]:
    return rank * count // world_size, (rank + 1) * count // world_size
