"""Random changes to whole batches of training images, and normalisation; the same numbers on every device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import NamedTuple

import torch
import torch.nn.functional as functional

from evaluators.augment.blending import Pairs, draw_jitter, draw_pairs, jitter
from evaluators.augment.crops import blank, centre, check_within, cut, draw_boxes, resize_boxes
from evaluators.augment.options import AugmentationOptions
from evaluators.base.devices import to_device


class BatchRows(NamedTuple):
    """Images ``rows``, int64 (k,) on the CPU, of a batch of ``batch``, whose random changes are drawn as a whole."""

    rows: torch.Tensor
    batch: int


class Augmentation(AugmentationOptions):
    """`AugmentationOptions` that can be applied to batches; every image gets changes of its own."""

    @classmethod
    def of(cls, options: AugmentationOptions) -> Augmentation | None:
        """Return the augmentation that ``options``, such as a recipe, ask for; None if they change nothing."""
        made = cls(**{field.name: getattr(options, field.name) for field in fields(AugmentationOptions)})
        return None if made == cls(aspect=made.aspect) else made

    def __call__(
        self,
        images: torch.Tensor,
        generator: torch.Generator,
        *,
        size: int | None = None,
        fill: torch.Tensor | float = 0.0,
        part: BatchRows | None = None,
    ) -> torch.Tensor:
        """Return copies of ``images`` with every change but mixup, which needs whole batches.

        Args:
            images: (batch, channels, height, width), values 0..255, any type, any device, not normalised.
            generator: on the CPU, whatever the device of ``images``, so that all devices see the same changes.
            size: side in pixels of the results; that of ``images`` if None. Without a random crop the centre is taken.
            fill: what cutout blanks with, one value or one per channel, on the scale of ``images``; its authors take
                the mean of the data.
            part: which images of a batch these are, if not all: they get the changes that they get in the whole batch.

        Returns:
            The type of ``images``; float32 after a resized crop or colour jitter.

        Raises:
            InvalidRequest: ``size`` is larger than the images (with their border).
        """
        whole = (images.shape[2], images.shape[3])
        wanted = whole if size is None else (size, size)
        rows, batch = BatchRows(torch.arange(len(images)), len(images)) if part is None else part

        def places(height: int, width: int) -> torch.Tensor:
            """Draw a pixel of each image: int64 (2, k), on the device of the images."""
            drawn = [torch.randint(length, (batch,), generator=generator)[rows] for length in (height, width)]
            return to_device(torch.stack(drawn), images.device)

        if self.resized_crop_area is not None:
            boxes = draw_boxes(batch, whole, self.resized_crop_area, self.aspect, generator)
            images = resize_boxes(images, boxes[rows], wanted)
        elif self.crop_padding:
            images = functional.pad(images, (self.crop_padding,) * 4)
            check_within(wanted, (images.shape[2], images.shape[3]))
            images = cut(images, places(images.shape[2] - wanted[0] + 1, images.shape[3] - wanted[1] + 1), wanted)
        else:
            images = centre(images, wanted)
        if self.flip:
            mirrored = torch.randint(2, (batch,), generator=generator, dtype=torch.bool)[rows]
            images = torch.where(to_device(mirrored, images.device).view(-1, 1, 1, 1), images.flip(3), images)
        if any(self.jitter):
            factors, order = draw_jitter(batch, self.jitter, generator)
            images = jitter(images, factors[rows], order[rows])
        if self.cutout:
            images = blank(images, places(*wanted), self.cutout, fill)
        return images

    def pairs(self, batch: int, generator: torch.Generator) -> Pairs | None:
        """Draw which of ``batch`` images mixup blends; None without mixup."""
        return draw_pairs(batch, self.mixup, generator) if self.mixup else None


def normalise(
    images: torch.Tensor, mean: Sequence[float] | torch.Tensor, std: Sequence[float] | torch.Tensor
) -> torch.Tensor:
    """Return (images / 255 - mean) / std as float32, in the shape and on the device of ``images``.

    Args:
        images: values 0..255, any type, (batch, channels, height, width).
        mean: one number per channel, in units of the 0..1 pixel scale; likewise ``std``.
    """
    shift = torch.as_tensor(mean, dtype=torch.float32, device=images.device).view(-1, 1, 1) * 255.0
    scale = torch.as_tensor(std, dtype=torch.float32, device=images.device).view(-1, 1, 1) * 255.0
    # in place, but never on the caller's floats; multiplied, which is faster than divided
    return images.to(torch.float32, copy=True).sub_(shift).mul_(scale.reciprocal())
