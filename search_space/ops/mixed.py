"""Depthwise kernels of several sizes side by side: Inception's differing receptive fields without its cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from search_space.layer_cost import Cost, conv_cost
from search_space.layers import ACTIVATIONS
from search_space.padding import Direction, near_equal_split
from search_space.registry import Operator, Slot, operators


class _MixedDepthwise(nn.Module):
    def __init__(self, slot: Slot, kernels: tuple[int, ...]) -> None:
        super().__init__()
        self.sizes = list(near_equal_split(slot.in_channels, len(kernels)))
        self.towers = nn.ModuleDict(
            {
                f"k{kernel}": nn.Conv2d(c, c, kernel, stride=slot.stride, padding=kernel // 2, groups=c, bias=False)
                for kernel, c in zip(kernels, self.sizes, strict=True)
            }
        )
        self.norm = nn.BatchNorm2d(slot.in_channels)
        self.act = ACTIVATIONS[slot.activation]()

    def forward(self, x: Tensor) -> Tensor:
        segments = x.split(self.sizes, dim=1)
        mixed = torch.cat([tower(s) for tower, s in zip(self.towers.values(), segments, strict=True)], dim=1)
        return self.act(self.norm(mixed))


@operators.register("mix_k357")
@dataclass(frozen=True)
class MixedDepthwise(Operator):
    """Channels in three near-equal segments with 3x3, 5x5 and 7x7 depthwise, one batch norm behind them."""

    scope = "spatial"
    source = "Hybrid hypothesis (Ghosh), section 3 (towers of differing receptive field); MixConv"
    summary = "3x3, 5x5, 7x7 depthwise on three channel segments, BN, act"
    kernels: ClassVar[tuple[int, ...]] = (3, 5, 7)

    def unfit(self, slot: Slot) -> str | None:
        if slot.in_channels < len(self.kernels):
            return f"{slot.in_channels} channels cannot be split in {len(self.kernels)} segments"
        return None

    def cost(self, slot: Slot) -> Cost:
        total = Cost(params=2 * slot.in_channels)  # the one batch norm
        for kernel, c in zip(self.kernels, near_equal_split(slot.in_channels, len(self.kernels)), strict=True):
            total += conv_cost(c, c, (kernel, kernel), slot.out_size, groups=c, norm=False)
        return total

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        return _MixedDepthwise(slot, self.kernels)
