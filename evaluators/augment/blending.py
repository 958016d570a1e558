"""Pixels blended: an image with its grey values (colour jitter), or with another image (mixup, CutMix)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as functional

from evaluators.augment.crops import boxed
from evaluators.base.devices import to_device

# ITU-R 601, as in Pillow's conversion to grey
_LUMA = (0.299, 0.587, 0.114)


def draw_jitter(batch: int, strength: Sequence[float], generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw what `jitter` does to each image, by a ``generator`` on the CPU.

    Args:
        batch: how many images.
        strength: of brightness, contrast and saturation; s means a factor uniform in max(0, 1 - s)..1 + s.

    Returns:
        (factors, order): float32 (batch, 3); int64 (batch, 3), which of the three is changed first, second, third.
    """
    reach = torch.tensor(strength, dtype=torch.float32)
    low = (1 - reach).clamp(min=0)
    factors = low + (1 + reach - low) * torch.rand((batch, 3), generator=generator)
    return factors, torch.rand((batch, 3), generator=generator).argsort(1)


def jitter(images: torch.Tensor, factors: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Return ``images`` with brightness, contrast and saturation changed, as float32 within 0..255.

    Each change is a blend factor * image + (1 - factor) * other, clipped to 0..255: ``other`` is black for brightness,
    the mean grey of the image for contrast, each pixel's own grey for saturation (Howard 2013, section 2; the same
    three as in torchvision and Pillow's ImageEnhance).

    Args:
        images: (batch, 1 or 3, height, width), values 0..255, any type.
        factors: float32, (batch, 3), of brightness, contrast and saturation.
        order: int64, (batch, 3), as `draw_jitter` returns it.
    """
    pixels = images.to(torch.float32)
    batch, channels = pixels.shape[:2]
    factors, order = to_device(factors, pixels.device), to_device(order, pixels.device)
    luma = to_device(torch.tensor(_LUMA if channels == 3 else (1.0,)), pixels.device).view(1, channels, 1, 1)
    for turn in range(3):
        which = order[:, turn].view(batch, 1, 1, 1)
        factor = factors.gather(1, order[:, turn : turn + 1]).view(batch, 1, 1, 1)
        grey = (pixels * luma).sum(1, keepdim=True)
        # 0 is brightness, 1 contrast, 2 saturation
        other = torch.where(which == 2, grey, grey.mean((2, 3), keepdim=True) * (which == 1))
        pixels = (pixels * factor + other * (1 - factor)).clamp_(0, 255)
    return pixels


class Pairs(NamedTuple):
    """How much of each image of a batch stays, float32 (batch,), and which image the rest is taken from, int64.

    With ``boxes``, int64 (batch, 4) as `evaluators.augment.crops.boxed` takes them, the rest is what lies in the box.
    """

    shares: torch.Tensor
    partners: torch.Tensor
    boxes: torch.Tensor | None = None


def draw_pairs(batch: int, alpha: float, generator: torch.Generator) -> Pairs:
    """Draw a permutation, and one share per image from Beta(alpha, alpha), by a ``generator`` on the CPU."""
    # torch's Beta distribution takes no generator; numpy's continues from a number that ours draws
    seed = int(torch.randint(2**62, (), generator=generator))
    shares = torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, batch)).to(torch.float32)
    return Pairs(shares, torch.randperm(batch, generator=generator))


def draw_pasted(batch: int, alpha: float, size: tuple[int, int], generator: torch.Generator) -> Pairs:
    """`draw_pairs`, and a box for each image of ``size`` around a uniform pixel, of the share that does not stay.

    What of it lies beyond the image is cut off, and the share that stays is that of the pixels (Yun et al. 2019).
    """
    shares, partners, _ = draw_pairs(batch, alpha, generator)
    sides = []
    for length in size:
        half = (length * (1 - shares).sqrt() / 2).long()
        middle = torch.randint(length, (batch,), generator=generator)
        start = (middle - half).clamp(min=0)
        sides.append((start, (middle + half).clamp(max=length) - start))
    boxes = torch.stack([start for start, _ in sides] + [length for _, length in sides], dim=1)
    return Pairs(1 - boxes[:, 2] * boxes[:, 3] / (size[0] * size[1]), partners, boxes)


def mixup(
    images: torch.Tensor, labels: torch.Tensor, classes: int, pairs: Pairs, rows: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend images of a batch with others of it (Zhang et al., *mixup*, 2018, equation 1).

    Result i is shares_i * image_rows(i) + (1 - shares_i) * image_partners(i), and its label likewise. Of pairs with
    boxes it is image_rows(i) with the box of image_partners(i) in it, and the label is blended as before (CutMix).

    Args:
        images: floating-point, (batch, channels, height, width).
        labels: int64, (batch,).
        classes: how many there are.
        pairs: one for each of k results.
        rows: int64, (k,), the image that each result is made from; image i for result i if None.

    Returns:
        (images, probabilities): k images and float32 (k, classes), rows adding up to 1.
    """
    shares, partners = to_device(pairs.shares, images.device), to_device(pairs.partners, images.device)
    probabilities = functional.one_hot(labels, classes).to(torch.float32)
    others = images.index_select(0, partners), probabilities.index_select(0, partners)
    if rows is not None:
        rows = to_device(rows, images.device)
        images, probabilities = images.index_select(0, rows), probabilities.index_select(0, rows)
    if pairs.boxes is None:
        share = shares.view(-1, 1, 1, 1).to(images.dtype)
        images = images * share + others[0] * (1 - share)
    else:
        height, width = images.shape[2:]
        images = torch.where(boxed(to_device(pairs.boxes, images.device), (height, width)), others[0], images)
    return images, probabilities * shares[:, None] + others[1] * (1 - shares[:, None])
