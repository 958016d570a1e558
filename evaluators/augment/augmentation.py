"""Random changes to whole batches of training images, and normalisation; the same numbers on every device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
import torch.nn.functional as functional

from evaluators.augment.blending import Pairs, draw_jitter, draw_pairs, draw_pasted, jitter
from evaluators.augment.crops import blank, centre, check_within, cut, draw_boxes, resize_boxes
from evaluators.augment.options import AugmentationOptions
from evaluators.augment.rand_augment import draw_operations, rand_augment
from evaluators.base.devices import to_device
from search_space.base.calls import ERRORS, imported, said
from search_space.base.checks import refusal

_TRANSFORM = "recipe.transform"
#: Least and most share of an image, and ratio of width to height, of what random erasing blanks.
_ERASED = (0.02, 0.4), (0.3, 1 / 0.3)


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
        """Return copies of ``images`` with every change but mixup and CutMix, which need whole batches.

        Args:
            images: (batch, channels, height, width), values 0..255, any type, any device, not normalised.
            generator: on the CPU, whatever the device of ``images``, so that all devices see the same changes.
            size: side in pixels of the results; that of ``images`` if None. Without a random crop the centre is taken.
            fill: what cutout and erasing blank with, one value or one per channel, on the scale of ``images``; the
                authors of cutout take the mean of the data.
            part: which images of a batch these are, if not all: they get the changes that they get in the whole batch.

        Returns:
            The type of ``images``; float32 after a resized crop, colour jitter, RandAugment or a user's own change.

        Raises:
            InvalidRequest: ``size`` is larger than the images (with their border), or the user's own change fails.
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
        if self.rand_augment is not None:
            count, magnitude = self.rand_augment
            which, signs = draw_operations(batch, count, generator)
            images = rand_augment(images, which[rows], signs[rows], magnitude)
        if self.transform is not None:
            images = self._transformed(images, generator)
        if self.cutout:
            corners = places(*wanted).T - self.cutout // 2
            images = blank(images, torch.cat([corners, torch.full_like(corners, self.cutout)], dim=1), fill)
        if self.erasing:
            boxes = draw_boxes(batch, wanted, *_ERASED, generator)
            boxes[torch.rand(batch, generator=generator) >= self.erasing] = 0  # empty ones
            images = blank(images, to_device(boxes[rows], images.device), fill)
        return images

    def _transformed(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """``images`` after the user's own change."""
        call, where = str(self.transform), _TRANSFORM
        change = _own_change(call)
        pixels = images.to(torch.float32, copy=True) / 255
        try:
            with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
                torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
                changed: Any = change(pixels)
        except ERRORS as error:
            raise refusal(where, call, f"fails ({said(error)})") from None
        if not isinstance(changed, torch.Tensor) or changed.shape != images.shape or not changed.is_floating_point():
            kind = f"{changed.dtype} {tuple(changed.shape)}" if isinstance(changed, torch.Tensor) else type(changed)
            why = f"returns {kind} for float32 {tuple(images.shape)}"
            raise refusal(where, call, why, "return a float batch of the shape that it gets")
        return changed.to(torch.float32) * 255

    def check(self, channels: int, size: int) -> None:
        """InvalidRequest if what it needs is not installed, or if the user's own change does not take images of
        ``channels`` and ``size``; changes a batch of two black ones."""
        if self.rand_augment is not None and find_spec("kornia") is None:
            remedy = "pip install 'sepnas[augment]', or set it to null"
            raise refusal("recipe.rand_augment", self.rand_augment, "needs kornia, which is not installed", remedy)
        if self.transform is not None:
            self._transformed(torch.zeros(2, channels, size, size), torch.Generator().manual_seed(0))

    def pairs(self, batch: int, generator: torch.Generator, size: int) -> Pairs | None:
        """Draw which of ``batch`` images of ``size`` x ``size`` mixup or CutMix blends; None without either."""
        pastes = self.cutmix > 0
        if self.mixup and pastes:
            pastes = bool(torch.randint(2, (), generator=generator))
        if pastes:
            return draw_pasted(batch, self.cutmix, (size, size), generator)
        return draw_pairs(batch, self.mixup, generator) if self.mixup else None


@cache
def _own_change(call: str) -> Callable[..., Any]:
    return imported(call, _TRANSFORM, "my_transforms:soften")


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
