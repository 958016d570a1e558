"""The ResNet generator and discriminator of Miyato et al. 2018, with the kernels of Wu et al. in the generator.

Wu et al. (section 4.5) normalise the discriminator's weights by their spectral norm, and nothing in the generator.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from experiments.generation.options import WIDTHS, GenerationOptions, Kernel
from search_space.base.checks import require
from search_space.layers import EvenPad, in_series
from search_space.padding import Direction

#: Side of the generator's first map.
_FIRST = 4
#: Sides of images that there is a generator for.
SIDES = (8, 16, 32, 64, 128)


def check_side(image_size: int) -> None:
    """InvalidRequest unless the maps of the networks double to ``image_size``."""
    why = "has no generator, whose maps double from 4 pixels"
    require(image_size in SIDES, "data.image_size", image_size, why, f"use {', '.join(map(str, SIDES))}")


def conv(kernel: Kernel, given: int, out: int) -> nn.Module:
    """A convolution that keeps the size."""
    size = int(kernel[1])
    if size % 2:
        return nn.Conv2d(given, out, size, padding=size // 2)
    direction = Direction.FOUR_GROUP if kernel.endswith("sp") else Direction.RIGHT_BOTTOM
    return in_series(pad=EvenPad(size, direction, given), conv=nn.Conv2d(given, out, size))


class UpBlock(nn.Module):
    """Doubles the side: ``(b, c, h, w) -> (b, c, 2h, 2w)``."""

    def __init__(self, kernel: Kernel, channels: int) -> None:
        super().__init__()
        self.first, self.second = conv(kernel, channels, channels), conv(kernel, channels, channels)
        self.shortcut = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        large = F.interpolate(x, scale_factor=2.0)
        inner = self.second(F.relu(self.first(F.relu(large))))
        return inner + self.shortcut(large)


class Generator(nn.Module):
    """``(batch, latent)``, standard normal, to images ``(batch, colours, side, side)`` between -1 and 1."""

    def __init__(self, options: GenerationOptions, side: int, colours: int) -> None:
        super().__init__()
        # a multiple of 4: the groups of the symmetric padding are equal
        self.channels = max(4, round(options.channels * WIDTHS[options.kernel] / 4) * 4)
        self.latent = options.latent
        self.begin = nn.Linear(options.latent, self.channels * _FIRST**2)
        doublings = SIDES.index(side) + 1
        self.blocks = nn.Sequential(*(UpBlock(options.kernel, self.channels) for _ in range(doublings)))
        self.end = conv(options.kernel, self.channels, colours)

    def forward(self, z: Tensor) -> Tensor:
        maps = self.begin(z).view(-1, self.channels, _FIRST, _FIRST)
        return torch.tanh(self.end(F.relu(self.blocks(maps))))


class DownBlock(nn.Module):
    """Halves the side if ``down``; the first block of all has the image in front, which no ReLU may cut."""

    def __init__(self, given: int, out: int, *, down: bool, first: bool = False) -> None:
        super().__init__()
        self.first = spectral_norm(nn.Conv2d(given, out, 3, padding=1))
        self.second = spectral_norm(nn.Conv2d(out, out, 3, padding=1))
        self.shortcut = spectral_norm(nn.Conv2d(given, out, 1)) if down or given != out else nn.Identity()
        self.down, self.is_first = down, first

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(F.relu(self.first(x if self.is_first else F.relu(x))))
        whole = inner + self.shortcut(x)
        return F.avg_pool2d(whole, 2) if self.down else whole


class Discriminator(nn.Module):
    """Images ``(batch, colours, side, side)`` to one number each ``(batch,)``, higher for real ones."""

    def __init__(self, options: GenerationOptions, side: int, colours: int) -> None:
        super().__init__()
        channels = options.critic_channels
        halvings = max(1, SIDES.index(side))
        self.blocks = nn.Sequential(
            DownBlock(colours, channels, down=True, first=True),
            *(DownBlock(channels, channels, down=True) for _ in range(halvings - 1)),
            *(DownBlock(channels, channels, down=False) for _ in range(2)),
        )
        self.end = spectral_norm(nn.Linear(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = F.relu(self.blocks(x)).sum(dim=(2, 3))
        value: Tensor = self.end(features)
        return value[:, 0]
