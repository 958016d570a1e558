"""Random crops and flips of whole batches, and normalisation; the same numbers on every device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional

from evaluators.checks import check_whole
from search_space.errors import InvalidRequest


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training images that keep their class.

    Args:
        crop_padding: pixels of black border on each side, from which a window of the original size is cut at random
            for each image; 0 for none. Black is pixel value 0 before normalisation, as in torchvision's RandomCrop.
        flip: mirror each image left to right with probability 1/2.

    Raises:
        InvalidRequest: `crop_padding` is not a whole number from 0, or `flip` is not a bool.
    """

    crop_padding: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        check_whole("crop_padding", self.crop_padding, 0)
        if not isinstance(self.flip, bool):
            raise InvalidRequest(f"flip={self.flip!r} is not a yes or no: give true or false")

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return changed copies of `images`, which stay as they are.

        Args:
            images: (batch, channels, height, width), any type, any device, not normalised.
            generator: on the CPU, whatever the device of `images`, so that all devices see the same changes.
        """
        if self.crop_padding:
            images = self._crop(images, generator)
        if self.flip:
            flipped = torch.randint(2, (len(images), 1, 1, 1), generator=generator, dtype=torch.bool)
            images = torch.where(flipped.to(images.device), images.flip(3), images)
        return images

    def _crop(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        batch, _, height, width = images.shape
        border = self.crop_padding
        offsets = torch.randint(2 * border + 1, (2, batch), generator=generator).to(images.device)
        padded = functional.pad(images, (border, border, border, border))
        # A view of every window: (batch, channels, 2 * border + 1, 2 * border + 1, height, width).
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        return windows[torch.arange(batch, device=images.device), :, offsets[0], offsets[1]]


def normalise(
    images: torch.Tensor, mean: Sequence[float] | torch.Tensor, std: Sequence[float] | torch.Tensor
) -> torch.Tensor:
    """Return (images / 255 - mean) / std as float32, in the shape and on the device of `images`.

    Args:
        images: uint8, (batch, channels, height, width).
        mean: one number per channel, in units of the 0..1 pixel scale.
        std: likewise, above 0.
    """
    shift = torch.as_tensor(mean, dtype=torch.float32, device=images.device).view(-1, 1, 1) * 255.0
    scale = torch.as_tensor(std, dtype=torch.float32, device=images.device).view(-1, 1, 1) * 255.0
    return images.to(torch.float32).sub_(shift).div_(scale)
