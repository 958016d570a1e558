"""Small image data: made in memory, or as folders of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from evaluators.data.images import ImageData, Images, ImageSet, Where, channel_statistics
from evaluators.data.load import load_data
from search_space.base.errors import InvalidRequest


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


def save(
    path: Path, colour: Any = (10, 20, 30), size: tuple[int, int] = (6, 6), mode: str = "RGB", **options: Any
) -> None:
    """Write an image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)


def grey_folder(root: Path, classes: tuple[str, ...] = ("cat", "dog"), n: int = 10, start: int = 0) -> Path:
    """Make class folders whose image k has the grey value start + k (+ 100 in the second class): content names it."""
    for label, name in enumerate(classes):
        for k in range(n):
            save(root / name / f"{k:03d}.png", start + 100 * label + k, mode="L")
    return root


def noise_folder(
    root: Path,
    n: int,
    classes: tuple[str, ...] = ("cat", "dog", "fox"),
    size: tuple[int, int] = (10, 10),
    seed: int = 0,
) -> Path:
    """Make class folders of ``n`` colour images of ``size`` (height, width) that are noise."""
    generator = np.random.default_rng(seed)
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        for k in range(n):
            Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(root / name / f"{k:03d}.png")
    return root


def grey_values(part: Images) -> list[int]:
    """Return the grey value of each image of ``part``, which must be constant."""
    flat = part.gather(torch.arange(len(part)))[:, 0].flatten(1)
    assert bool((flat == flat[:, :1]).all())
    return flat[:, 0].tolist()


def refuse(name: Path | str, text: str, **options: Any) -> None:
    """Check that a data set is refused in one line that matches ``text``."""
    with pytest.raises(InvalidRequest, match=text) as error:
        load_data(str(name), **({"image_size": 4} | options))
    assert "\n" not in str(error.value)
