"""Random changes to whole batches of training images, and normalisation; the same numbers on every device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import NamedTuple

import torch

from evaluators.augment.blending import Pairs, draw_jitter, draw_pairs, jitter
from evaluators.augment.crops import centre, check_within, cut, draw_boxes, mirror, pad, resize_boxes
from evaluators.augment.options import AugmentationOptions
from evaluators.base.devices import to_device


class BatchRows(NamedTuple):
    """Some images of a batch, whose random changes are drawn for the batch as a whole.

    Attributes:
        rows: int64, (k,), on the CPU: which images of the batch.
        batch: images in the batch.
    """

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
            part: which images of a batch these are: they get the changes that they would get in the whole batch. The
                whole batch if None.

        Returns:
            The type of ``images``; float32 after a resized crop or colour jitter.

        Raises:
            InvalidRequest: ``size`` is larger than the images (with their border).
        """
        wanted = (images.shape[2], images.shape[3]) if size is None else (size, size)
        drawn = BatchRows(torch.arange(len(images)), len(images)) if part is None else part
        if self.resized_crop_area is not None:
            image_size = (images.shape[2], images.shape[3])
            boxes = draw_boxes(drawn.batch, image_size, self.resized_crop_area, self.aspect, generator)
            images = resize_boxes(images, boxes[drawn.rows], wanted)
        elif self.crop_padding:
            images = self._crop(images, wanted, generator, drawn)
        else:
            images = centre(images, wanted)
        if self.flip:
            mirrored = torch.randint(2, (drawn.batch,), generator=generator, dtype=torch.bool)
            images = mirror(images, mirrored[drawn.rows])
        if any(self.jitter):
            factors, order = draw_jitter(drawn.batch, self.jitter, generator)
            images = jitter(images, factors[drawn.rows], order[drawn.rows])
        if self.cutout:
            images = self._cut_out(images, fill, generator, drawn)
        return images

    def pairs(self, batch: int, generator: torch.Generator) -> Pairs | None:
        """Draw which of ``batch`` images mixup blends; None without mixup."""
        return draw_pairs(batch, self.mixup, generator) if self.mixup else None

    def _crop(
        self, images: torch.Tensor, wanted: tuple[int, int], generator: torch.Generator, drawn: BatchRows
    ) -> torch.Tensor:
        padded = pad(images, self.crop_padding)
        check_within(wanted, (padded.shape[2], padded.shape[3]))
        tops = torch.randint(padded.shape[2] - wanted[0] + 1, (drawn.batch,), generator=generator)[drawn.rows]
        lefts = torch.randint(padded.shape[3] - wanted[1] + 1, (drawn.batch,), generator=generator)[drawn.rows]
        places = to_device(torch.stack([tops, lefts]), images.device)
        return cut(padded, places[0], places[1], wanted)

    def _cut_out(
        self, images: torch.Tensor, fill: torch.Tensor | float, generator: torch.Generator, drawn: BatchRows
    ) -> torch.Tensor:
        lengths = images.shape[2:]
        centres = [torch.randint(length, (drawn.batch, 1), generator=generator)[drawn.rows] for length in lengths]
        hidden = []
        # the few starts travel to the device, not the mask
        starts = to_device(torch.stack(centres), images.device) - self.cutout // 2
        for length, start in zip(lengths, starts, strict=True):
            position = torch.arange(length, device=images.device)
            hidden.append((position >= start) & (position < start + self.cutout))
        mask = hidden[0][:, None, :, None] & hidden[1][:, None, None, :]
        if isinstance(fill, torch.Tensor):
            blank = to_device(fill.to(torch.float32), images.device).view(-1, 1, 1)
        else:
            blank = torch.full((1, 1, 1), fill, dtype=torch.float32, device=images.device)
        if not images.dtype.is_floating_point:
            blank = blank.round()
        return torch.where(mask, blank.to(images.dtype), images)


def normalise(
    images: torch.Tensor, mean: Sequence[float] | torch.Tensor, std: Sequence[float] | torch.Tensor
) -> torch.Tensor:
    """Return (images / 255 - mean) / std as float32, in the shape and on the device of ``images``.

    Args:
        images: values 0..255, any type, (batch, channels, height, width).
        mean: one number per channel, in units of the 0..1 pixel scale.
        std: likewise, above 0.
    """
    shift = torch.as_tensor(mean, dtype=torch.float32, device=images.device).view(-1, 1, 1) * 255.0
    scale = torch.as_tensor(std, dtype=torch.float32, device=images.device).view(-1, 1, 1) * 255.0
    # in place, but never on the caller's floats; multiplied, which is faster than divided
    return images.to(torch.float32, copy=True).sub_(shift).mul_(scale.reciprocal())
