"""Random changes to whole batches of training images, and normalisation; the same numbers on every device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import torch

from evaluators.augment.color import draw_jitter, jitter
from evaluators.augment.crops import centre, check_within, cut, draw_boxes, mirror, pad, resize_boxes
from evaluators.augment.mixup import Pairs, draw_pairs
from evaluators.base.checks import check_whole
from evaluators.base.transfer import to_device
from search_space.base.errors import InvalidRequest


class Part(NamedTuple):
    """Images at hand of a batch that is drawn for as a whole.

    Args:
        rows: int64, (k,), on the CPU: which images of the batch.
        batch: images in the batch.
    """

    rows: torch.Tensor
    batch: int


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training images, drawn anew for each image, in the order of the fields.

    Args:
        crop_padding: pixels of black border on each side, from which a window of the original size is cut at random;
            0 for none (Lee et al., *Deeply-Supervised Nets*, 2015; XSepConv section 4.1 on CIFAR takes 4). Black is
            pixel value 0 before normalisation, as in torchvision's RandomCrop.
        flip: mirror each image left to right with probability 1/2.
        resized_crop_area: least and most share of the image that a random box covers, which is then resized, such as
            (0.08, 1); None for none (Szegedy et al., *Going Deeper with Convolutions*, 2015, section 6; XSepConv
            section 4.1 on Tiny-ImageNet).
        aspect: least and most ratio of width to height of that box.
        color_jitter: largest relative change of brightness, contrast and saturation, or one number for all three; 0
            for none (Howard 2013).
        cutout: side in pixels of a square that is blanked around a uniformly drawn pixel, so that it may reach beyond
            the image; 0 for none (DeVries & Taylor, *Cutout*, 2017).
        mixup: alpha of the Beta distribution by which pairs of images and labels are blended; 0 for none (Zhang et
            al., *mixup*, 2018).

    Raises:
        InvalidRequest: a value is out of range, or both kinds of crop are asked for.
    """

    crop_padding: int = 0
    flip: bool = False
    resized_crop_area: Sequence[float] | None = None
    aspect: Sequence[float] = (3 / 4, 4 / 3)
    color_jitter: float | Sequence[float] = 0.0
    cutout: int = 0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        check_whole("crop_padding", self.crop_padding, 0)
        if not isinstance(self.flip, bool):
            raise InvalidRequest(f"flip={self.flip!r} is not a yes or no: give true or false")
        if self.resized_crop_area is not None:
            _check_range("resized_crop_area", self.resized_crop_area, "shares of the image, such as [0.08, 1]", 1.0)
            if self.crop_padding:
                raise InvalidRequest(
                    f"crop_padding={self.crop_padding} beside resized_crop_area={self.resized_crop_area!r} "
                    "would crop twice: give one of them"
                )
        _check_range("aspect", self.aspect, "ratios, such as [0.75, 1.33]", float("inf"))
        _jitter_strength(self.color_jitter)
        check_whole("cutout", self.cutout, 0)
        if not _is_number(self.mixup) or not 0 <= self.mixup < float("inf"):
            raise InvalidRequest(f"mixup={self.mixup!r} is not a number from 0: give one, such as 0.2")

    def __call__(
        self,
        images: torch.Tensor,
        generator: torch.Generator,
        *,
        size: int | None = None,
        fill: torch.Tensor | float = 0.0,
        part: Part | None = None,
    ) -> torch.Tensor:
        """Return changed copies of `images`, which stay as they are; all but `mixup`, which takes whole batches.

        Args:
            images: (batch, channels, height, width), values 0..255, any type, any device, not normalised.
            generator: on the CPU, whatever the device of `images`, so that all devices see the same changes.
            size: side in pixels of the results; that of `images` if None. Without a random crop the centre is taken.
            fill: what `cutout` blanks with, one value or one per channel, on the scale of `images`; its authors take
                the mean of the data.
            part: which images of a batch these are: they are changed as they would be among the whole batch. The whole
                batch if None.

        Returns:
            The type of `images`; float32 if `resized_crop_area` or `color_jitter` has computed pixels.

        Raises:
            InvalidRequest: `size` is larger than the images (with their border).
        """
        wanted = (images.shape[2], images.shape[3]) if size is None else (size, size)
        drawn = Part(torch.arange(len(images)), len(images)) if part is None else part
        if self.resized_crop_area is not None:
            area, aspect = tuple(self.resized_crop_area), tuple(self.aspect)
            image_size = (images.shape[2], images.shape[3])
            boxes = draw_boxes(drawn.batch, image_size, (area[0], area[1]), (aspect[0], aspect[1]), generator)
            images = resize_boxes(images, boxes[drawn.rows], wanted)
        elif self.crop_padding:
            images = self._crop(images, wanted, generator, drawn)
        else:
            images = centre(images, wanted)
        if self.flip:
            mirrored = torch.randint(2, (drawn.batch,), generator=generator, dtype=torch.bool)
            images = mirror(images, mirrored[drawn.rows])
        strength = _jitter_strength(self.color_jitter)
        if any(strength):
            factors, order = draw_jitter(drawn.batch, strength, generator)
            images = jitter(images, factors[drawn.rows], order[drawn.rows])
        if self.cutout:
            images = self._cut_out(images, fill, generator, drawn)
        return images

    def pairs(self, batch: int, generator: torch.Generator) -> Pairs | None:
        """Draw which of ``batch`` images `evaluators.augment.mixup.mixup` is to blend; None without it."""
        return draw_pairs(batch, self.mixup, generator) if self.mixup else None

    def _crop(
        self, images: torch.Tensor, wanted: tuple[int, int], generator: torch.Generator, drawn: Part
    ) -> torch.Tensor:
        padded = pad(images, self.crop_padding)
        check_within(wanted, (padded.shape[2], padded.shape[3]))
        tops = torch.randint(padded.shape[2] - wanted[0] + 1, (drawn.batch,), generator=generator)[drawn.rows]
        lefts = torch.randint(padded.shape[3] - wanted[1] + 1, (drawn.batch,), generator=generator)[drawn.rows]
        places = to_device(torch.stack([tops, lefts]), images.device)
        return cut(padded, places[0], places[1], wanted)

    def _cut_out(
        self, images: torch.Tensor, fill: torch.Tensor | float, generator: torch.Generator, drawn: Part
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
    """Return (images / 255 - mean) / std as float32, in the shape and on the device of `images`.

    Args:
        images: values 0..255, any type, (batch, channels, height, width).
        mean: one number per channel, in units of the 0..1 pixel scale.
        std: likewise, above 0.
    """
    shift = torch.as_tensor(mean, dtype=torch.float32, device=images.device).view(-1, 1, 1) * 255.0
    scale = torch.as_tensor(std, dtype=torch.float32, device=images.device).view(-1, 1, 1) * 255.0
    # in place, but never on the caller's floats; multiplied, which is faster than divided
    return images.to(torch.float32, copy=True).sub_(shift).mul_(scale.reciprocal())


def _jitter_strength(value: float | Sequence[float]) -> tuple[float, float, float]:
    strengths: list[Any] = list(value) if isinstance(value, (list, tuple)) else [value] * 3
    if len(strengths) != 3 or not all(_is_number(number) and 0 <= number < float("inf") for number in strengths):
        raise InvalidRequest(
            f"color_jitter={value!r} is not a strength: give a number from 0, or three of them for brightness, "
            "contrast and saturation"
        )
    return float(strengths[0]), float(strengths[1]), float(strengths[2])


def _check_range(field: str, value: object, what: str, most: float) -> None:
    """Refuse what is not [least, most] with 0 < least <= most."""
    pair = list(value) if isinstance(value, (list, tuple)) else []
    if (
        len(pair) != 2
        or not all(map(_is_number, pair))
        or not 0 < pair[0] <= pair[1] <= most
        or pair[1] == float("inf")
    ):
        raise InvalidRequest(f"{field}={value!r} is not [least, most]: give two {what}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
