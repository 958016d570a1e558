"""Random brightness, contrast and saturation, drawn for each image of a batch."""

from __future__ import annotations

import torch

from evaluators.base.transfer import to_device

# ITU-R 601, as Pillow's conversion to grey
_LUMA = (0.299, 0.587, 0.114)


def draw_jitter(
    batch: int, strength: tuple[float, float, float], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw what `jitter` does to each image.

    Args:
        batch: how many.
        strength: of brightness, contrast and saturation; s means a factor uniform in max(0, 1 - s)..1 + s.
        generator: on the CPU.

    Returns:
        (factors, order): float32 (batch, 3); and int64 (batch, 3), which of the three is changed first, second, third,
        a uniform permutation.
    """
    reach = torch.tensor(strength, dtype=torch.float32)
    low = (1 - reach).clamp(min=0)
    factors = low + (1 + reach - low) * torch.rand((batch, 3), generator=generator)
    return factors, torch.rand((batch, 3), generator=generator).argsort(1)


def jitter(images: torch.Tensor, factors: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Return `images` with brightness, contrast and saturation changed, as float32 within 0..255.

    Each change is a blend factor * image + (1 - factor) * other, clipped to 0..255: `other` is black for brightness,
    the mean grey of the image for contrast, each pixel's own grey for saturation (Krizhevsky's successors; Howard,
    *Some Improvements on Deep Convolutional Neural Network Based Image Classification*, 2013, section 2; the same
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
