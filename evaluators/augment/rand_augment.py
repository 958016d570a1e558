"""RandAugment on whole batches, by kornia's operations (optional: ``pip install 'sepnas[augment]'``)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from evaluators.augment.blending import jitter

#: The largest magnitude; it is the strength 1.
MOST = 30
_OPERATIONS = 14
#: Images (k, channels, height, width), 0 to 1; strength, 0 to 1; signs (k,), each 1 or -1 -> images of that shape.
Operation = Callable[[Tensor, float, Tensor], Tensor]


def draw_operations(batch: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw which operations each image gets, int64, and with which signs, 1 or -1, float32: (batch, count) each.

    As in the paper one operation may come twice. ``generator`` is on the CPU.
    """
    which = torch.randint(_OPERATIONS, (batch, count), generator=generator)
    return which, 1 - 2 * torch.randint(2, (batch, count), generator=generator).float()


def rand_augment(images: Tensor, which: Tensor, signs: Tensor, magnitude: int) -> Tensor:
    """Return ``images`` after their operations (Cubuk et al., *RandAugment*, 2020), one after the other.

    Strengths grow with the magnitude as in torchvision: rotations to 30 degrees, shears to 0.3, translations to 150/331
    of the side, blends to 1 +- 0.9, posterizing to 4 bits, solarizing to all pixels. What moves into view is black.

    Args:
        images: (batch, 1 or 3, height, width), values 0..255, any type.
        which: int64 (batch, count), and ``signs``, float32 (batch, count): as `draw_operations` gives them.
        magnitude: 0 to `MOST`.

    Returns:
        float32, values 0..255.
    """
    pixels = images.to(torch.float32, copy=True).div_(255)
    known = operations()
    for chosen, sign in zip(which.T.to(pixels.device), signs.T.to(pixels.device), strict=True):
        for number in chosen.unique().tolist():
            rows = (chosen == number).nonzero()[:, 0]
            pixels[rows] = known[number](pixels[rows], magnitude / MOST, sign[rows]).clamp(0, 1)
    return pixels.mul_(255)


def operations() -> list[Operation]:
    """The 14 operations of the paper."""
    from kornia import enhance
    from kornia.geometry import rotate, shear, translate

    def along(move: Callable[[Tensor, Tensor], Tensor], axis: int, x: Tensor, distance: Tensor) -> Tensor:
        return move(x, torch.stack([distance, torch.zeros_like(distance)][:: 1 - 2 * axis], dim=1))

    return [
        lambda x, strength, sign: x,
        lambda x, strength, sign: enhance.normalize_min_max(x),  # autocontrast
        lambda x, strength, sign: enhance.equalize(x),
        lambda x, strength, sign: enhance.solarize(x, 1 - strength),
        lambda x, strength, sign: enhance.posterize(x, 8 - round(4 * strength)),
        lambda x, strength, sign: enhance.sharpness(x, 1 + 0.9 * strength * sign),
        lambda x, strength, sign: _blend(0, x, 0.9 * strength * sign),
        lambda x, strength, sign: _blend(1, x, 0.9 * strength * sign),
        lambda x, strength, sign: _blend(2, x, 0.9 * strength * sign),
        lambda x, strength, sign: rotate(x, 30 * strength * sign),
        lambda x, strength, sign: along(shear, 0, x, 0.3 * strength * sign),
        lambda x, strength, sign: along(shear, 1, x, 0.3 * strength * sign),
        lambda x, strength, sign: along(translate, 0, x, 150 / 331 * x.shape[3] * strength * sign),
        lambda x, strength, sign: along(translate, 1, x, 150 / 331 * x.shape[2] * strength * sign),
    ]


def _blend(change: int, x: Tensor, amount: Tensor) -> Tensor:
    """``x`` with another brightness (0), contrast (1) or saturation (2): its factor is 1 + ``amount`` (k,)."""
    factors = torch.ones(len(x), 3)
    factors[:, change] += amount.cpu()
    return jitter(x * 255, factors, torch.arange(3).expand(len(x), 3)) / 255
