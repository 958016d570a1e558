"""Small image data: made in memory."""

from __future__ import annotations

from typing import Any

import torch

from evaluators.data.images import ImageData, Images, ImageSet, Where, channel_statistics


def make_set(n: int = 6, channels: int = 1, size: int = 4, classes: int = 2) -> ImageSet:
    """``n`` images whose pixels count up, with labels that take turns."""
    images = torch.arange(n * channels * size * size).remainder(256).to(torch.uint8).view(n, channels, size, size)
    return ImageSet(images, torch.arange(n) % classes)


def toy_data(**changes: Any) -> ImageData:
    """Two classes of six grey images; ``changes`` are other fields of `ImageData`."""
    part = make_set()
    given: dict[str, Any] = {
        "name": "toy",
        "classes": ("a", "b"),
        "train": part,
        "validation": part,
        "test": part,
        "mean": (0.5,),
        "std": (0.25,),
    }
    return ImageData(**(given | changes))


def numbered_data(n: int = 21, channels: int = 1) -> ImageData:
    """Make images whose top left pixel is their number, which is their label as well."""
    images = torch.zeros(n, channels, 4, 4, dtype=torch.uint8)
    images[:, :, 0, 0] = torch.arange(n, dtype=torch.uint8)[:, None]
    part = ImageSet(images, torch.arange(n))
    mean, std = channel_statistics(images)
    return ImageData("toy", tuple(map(str, range(n))), part, part, part, mean, std)


def random_data(where: Where = "device") -> ImageData:
    """Forty colour images of 12 pixels for windows of 10, of five classes."""
    pixels = torch.randint(0, 256, (40, 3, 12, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    part = ImageSet(pixels, torch.arange(40) % 5)
    return ImageData("toy", tuple("abcde"), part, part, part, *channel_statistics(pixels), image_size=10, where=where)


def splits(data: ImageData) -> dict[str, Images]:
    """The three splits by name; opens the test split."""
    return {"train": data.train, "validation": data.validation, "test": data.test}
