"""Images that benchmarks train on: what they show has no influence on how long it takes."""

from __future__ import annotations

import torch

from evaluators.data.images import ImageData, ImageSet, channel_statistics


def noise(count: int) -> ImageData:
    """``count`` images of noise in colour, 32 x 32, of ten classes; the same ones in each split."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    image_set = ImageSet(images, torch.arange(count) % 10)
    mean, std = channel_statistics(images)
    return ImageData("noise", tuple("0123456789"), image_set, image_set, image_set, mean, std)
