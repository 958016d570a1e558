"""The few layers all blocks are made of. Sub-modules are named by role, so that a state dict reads well."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.padding import FOUR_GROUPS, Direction, near_equal_split

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "elu": nn.ELU,
    "none": nn.Identity,
}


def in_series(**layers: nn.Module) -> nn.Sequential:
    """``layers`` one after the other, under their names."""
    return nn.Sequential(OrderedDict(layers))


class ConvNormAct(nn.Module):
    """Convolution without bias, batch norm, activation; "same" padding for odd kernels.

    Maps ``(batch, in_channels, height, width)`` to ``(batch, out_channels, ceil(height / s), ceil(width / s))``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        groups: int = 1,
        activation: str = "none",
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            (height, width),
            stride=stride,
            padding=(height // 2, width // 2),
            groups=groups,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.act = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class EvenPad(nn.Module):
    """Zero padding in front of an even-sized kernel: k - 1 zeros per dimension, the odd one by ``direction``.

    ``Direction.FOUR_GROUP`` gives each near-equal quarter of the channels a direction of its own, so that the mean
    offset is zero where 4 divides them (C2sp, Wu et al. section 3.2). ``(b, c, h, w) -> (b, c, h + k - 1, w + k - 1)``.
    """

    def __init__(self, kernel: int, direction: Direction, channels: int) -> None:
        super().__init__()
        if kernel % 2:
            raise ValueError(f"kernel: {kernel} is odd; EvenPad is for even kernels")
        self.kernel = kernel
        self.direction = direction
        self.groups = list(near_equal_split(channels, 4))

    def forward(self, x: Tensor) -> Tensor:
        if self.direction is not Direction.FOUR_GROUP:
            return F.pad(x, self.direction.zeros(self.kernel))
        groups = x.split(self.groups, dim=1)
        return torch.cat([F.pad(g, d.zeros(self.kernel)) for g, d in zip(groups, FOUR_GROUPS, strict=True)], dim=1)

    def extra_repr(self) -> str:
        return f"kernel={self.kernel}, direction={self.direction.name.lower()}"


class EvenConvNormAct(nn.Module):
    """Even-sized convolution with directed padding, batch norm, activation: ``(b, c, h, w) -> (b, c', h/s, w/s)``."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        direction: Direction,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: str = "none",
    ) -> None:
        super().__init__()
        self.pad = EvenPad(kernel, direction, in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.act = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(self.pad(x))))


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation as MobileNetV3 uses it: mean, 1x1 to ``squeeze``, ReLU, 1x1 back, hard sigmoid, scale."""

    def __init__(self, channels: int, squeeze: int, *, bias: bool) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeeze, 1, bias=bias)
        self.act = nn.ReLU()
        self.expand = nn.Conv2d(squeeze, channels, 1, bias=bias)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.act(self.reduce(self.pool(x)))))
