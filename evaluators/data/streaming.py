"""Images that stay on disk and are decoded whenever a batch asks for them."""

from __future__ import annotations

from typing import Self

import numpy as np
import torch

from evaluators.data.decode import read, reason
from evaluators.data.images import Images
from evaluators.sources.base import ChosenPictures, Pictures
from search_space.base.checks import plain, shown
from search_space.base.errors import InvalidRequest


class UnreadableImage(InvalidRequest):
    """An image that turned out to be damaged in the middle of a run."""

    def __init__(self, message: str) -> None:
        # A DataLoader raises this anew with the worker's whole traceback as its text, of which the last line is ours.
        super().__init__(message.strip().splitlines()[-1].removeprefix(f"{__name__}.UnreadableImage: "))


class StreamedImages(Images):
    """Labelled images of one split on disk, resized and cut to ``size`` pixels; messages call the data ``name``."""

    def __init__(self, pictures: Pictures, labels: torch.Tensor, channels: int, size: int, name: str) -> None:
        self.pictures = pictures
        self.labels = labels
        self.name = name
        self._shape = (channels, size, size)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._shape

    def gather(self, indices: torch.Tensor) -> torch.Tensor:
        """Decode the images at ``indices``, on the CPU; UnreadableImage if one is damaged."""
        channels, size, _ = self.shape
        pixels = np.empty((len(indices), *self.shape), dtype=np.uint8)
        for place, index in enumerate(indices.tolist()):
            try:
                pixels[place] = read(self.pictures, index, size, channels)
            # Damaged files make Pillow raise nearly anything.
            except Exception as error:
                image, why = shown(self.pictures.name(index)), plain(reason(error), 60)
                raise UnreadableImage(
                    f"data.name: {shown(self.name)} has the image {image}, which cannot be read ({why}); "
                    "repair or remove it"
                ) from error
        return torch.from_numpy(pixels)

    def _subset(self, indices: torch.Tensor) -> Self:
        return self._of(ChosenPictures([self.pictures], indices.numpy()), self.labels[indices])

    def _join(self, other: Self) -> Self:
        pictures = ChosenPictures([self.pictures, other.pictures])
        return self._of(pictures, torch.cat([self.labels, other.labels]))

    def _of(self, pictures: Pictures, labels: torch.Tensor) -> Self:
        return type(self)(pictures, labels, *self.shape[:2], self.name)
