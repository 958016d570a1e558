"""Images that a file holds as plain pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from evaluators.sources.base import Pictures


@dataclass(frozen=True, eq=False)
class ArrayImage:
    """One image.

    Args:
        pixels: uint8, (channels, height, width), 1 or 3 channels.
        name: what messages call it.
    """

    pixels: np.ndarray
    name: str

    def open(self) -> Image.Image:
        """Return it as a grey or RGB image."""
        grey = len(self.pixels) == 1
        return Image.fromarray(self.pixels[0] if grey else np.ascontiguousarray(self.pixels.transpose(1, 2, 0)))


class ArrayImages(Pictures):
    """Images of one size.

    Args:
        pixels: uint8, (n, channels, height, width); may be mapped from a file.
        name: of the data; image k is called name[k].
    """

    def __init__(self, pixels: np.ndarray, name: str) -> None:
        self.pixels = pixels
        self.name = name

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width."""
        return self.pixels.shape[1:]

    def picture(self, index: int) -> ArrayImage:
        """Return image `index`."""
        return ArrayImage(self.pixels[index], f"{self.name}[{index}]")
