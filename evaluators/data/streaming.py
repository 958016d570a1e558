"""Images that stay on disk and are decoded whenever a batch asks for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from evaluators.data.decode import read, reason
from evaluators.data.images import Images
from evaluators.sources.base import ChosenPictures, Picture
from search_space.base.checks import shown
from search_space.base.errors import InvalidRequest


class UnreadableImage(InvalidRequest):
    """An image that turned out to be damaged in the middle of a run."""

    def __init__(self, message: str) -> None:
        # A DataLoader raises this anew with the worker's whole traceback as its text, of which the last line is ours.
        super().__init__(message.strip().splitlines()[-1].removeprefix(f"{__name__}.UnreadableImage: "))


class StreamedImages(Images):
    """Labelled images of one split on disk.

    Args:
        pictures: n undecoded images.
        labels: int64, (n,).
        channels: 1 or 3.
        size: side in pixels that images are resized and cut to.
        name: what messages call the data.
    """

    def __init__(
        self, pictures: Sequence[Picture], labels: torch.Tensor, channels: int, size: int, name: str = "images"
    ) -> None:
        self.pictures = pictures
        self.labels = labels
        self.name = name
        self._shape = (channels, size, size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        return self._shape

    def gather(self, indices: torch.Tensor) -> torch.Tensor:
        """Decode the images at ``indices``, on the CPU.

        Raises:
            UnreadableImage: one is damaged.
        """
        channels, size, _ = self._shape
        pixels = np.empty((len(indices), *self._shape), dtype=np.uint8)
        for place, index in enumerate(indices.tolist()):
            picture = self.pictures[index]
            try:
                pixels[place] = read(picture, size, channels)
            # Damaged files make Pillow raise nearly anything.
            except Exception as error:
                raise UnreadableImage(
                    f"data.name: {shown(self.name)} has the image {shown(picture.name)}, which cannot be read "
                    f"({reason(error)}); repair or remove it"
                ) from error
        return torch.from_numpy(pixels)

    def subset(self, indices: torch.Tensor | np.ndarray | Sequence[int]) -> StreamedImages:
        """Return the images at ``indices``, in that order."""
        chosen = self.positions(indices)
        pictures = ChosenPictures([self.pictures], chosen.numpy())
        return StreamedImages(pictures, self.labels[chosen], self._shape[0], self._shape[1], self.name)

    def join(self, other: Images) -> StreamedImages:
        """Return these images followed by ``other``."""
        if not isinstance(other, StreamedImages) or other.shape != self.shape:
            raise InvalidRequest(
                f"other: {type(other).__name__} cannot follow streamed images of shape {self.shape}; load both alike"
            )
        pictures = ChosenPictures([self.pictures, other.pictures])
        labels = torch.cat([self.labels, other.labels])
        return StreamedImages(pictures, labels, self._shape[0], self._shape[1], self.name)
