"""Mixup: pairs of images and of their labels, blended."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as functional


def mixup(
    images: torch.Tensor, labels: torch.Tensor, classes: int, alpha: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend each image of a batch with another one of it (Zhang et al., *mixup*, 2018, equation 1).

    Image i becomes share_i * image_i + (1 - share_i) * image_p(i), its label likewise, with a random permutation p and
    shares from the Beta(alpha, alpha) distribution, one for each image.

    Args:
        images: floating-point, (batch, channels, height, width).
        labels: int64, (batch,).
        classes: how many there are.
        alpha: above 0.
        generator: on the CPU.

    Returns:
        (images, probabilities): as given; and float32 (batch, classes), rows adding up to 1, as `cross_entropy` takes
        them.
    """
    batch = len(images)
    # torch's Beta distribution takes no generator; numpy's continues from a number that ours draws
    seed = int(torch.randint(2**62, (), generator=generator))
    shares = torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, batch)).to(images.device, torch.float32)
    partners = torch.randperm(batch, generator=generator).to(images.device)
    share = shares.view(-1, 1, 1, 1).to(images.dtype)
    mixed = images * share + images.index_select(0, partners) * (1 - share)
    own = functional.one_hot(labels, classes).to(torch.float32)
    return mixed, own * shares[:, None] + own.index_select(0, partners.to(own.device)) * (1 - shares[:, None])
