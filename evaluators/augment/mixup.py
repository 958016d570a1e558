"""Mixup: pairs of images and of their labels, blended."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as functional

from evaluators.base.transfer import to_device


class Pairs(NamedTuple):
    """Which images of a batch are blended.

    Args:
        shares: float32, (batch,): how much of each image stays.
        partners: int64, (batch,): the image that the rest is taken from; a permutation.
    """

    shares: torch.Tensor
    partners: torch.Tensor


def draw_pairs(batch: int, alpha: float, generator: torch.Generator) -> Pairs:
    """Draw a random permutation, and shares from the Beta(alpha, alpha) distribution, one for each image.

    Args:
        batch: how many images.
        alpha: above 0.
        generator: on the CPU.
    """
    # torch's Beta distribution takes no generator; numpy's continues from a number that ours draws
    seed = int(torch.randint(2**62, (), generator=generator))
    shares = torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, batch)).to(torch.float32)
    return Pairs(shares, torch.randperm(batch, generator=generator))


def mixup(
    images: torch.Tensor, labels: torch.Tensor, classes: int, pairs: Pairs, own: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend each image of a batch with another one of it (Zhang et al., *mixup*, 2018, equation 1).

    The i-th result is shares_i * image_own(i) + (1 - shares_i) * image_partners(i), its label likewise.

    Args:
        images: floating-point, (batch, channels, height, width).
        labels: int64, (batch,).
        classes: how many there are.
        pairs: of k results.
        own: int64, (k,), an image for each result; the k-th for the k-th if None.

    Returns:
        (images, probabilities): of k images; float32 (k, classes), rows adding up to 1, as `cross_entropy` takes them.
    """
    shares, partners = to_device(pairs.shares, images.device), to_device(pairs.partners, images.device)
    probabilities = functional.one_hot(labels, classes).to(torch.float32)
    others = images.index_select(0, partners), probabilities.index_select(0, partners)
    if own is not None:
        own = to_device(own, images.device)
        images, probabilities = images.index_select(0, own), probabilities.index_select(0, own)
    share = shares.view(-1, 1, 1, 1).to(images.dtype)
    return (
        images * share + others[0] * (1 - share),
        probabilities * shares[:, None] + others[1] * (1 - shares[:, None]),
    )
