"""Depthwise kernels of several sizes side by side: Inception's differing receptive fields without its cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from search_space.layer_cost import Cost, conv_cost
from search_space.layers import ACTIVATIONS, ConvNormAct
from search_space.padding import Direction, near_equal_split
from search_space.registry import Operator, Slot, operators


class MixedTowers(nn.Module):
    """Each tower normalises its own segment: the same as one batch norm behind all, but a tower is complete in itself,
    so that narrower candidates can share the first channels of each."""

    def __init__(self, slot: Slot, kernels: tuple[int, ...]) -> None:
        super().__init__()
        self.sizes = list(near_equal_split(slot.in_channels, len(kernels)))
        self.towers = nn.ModuleDict(
            {
                f"k{kernel}": ConvNormAct(c, c, kernel, stride=slot.stride, groups=c)
                for kernel, c in zip(kernels, self.sizes, strict=True)
            }
        )
        self.act = ACTIVATIONS[slot.activation]()

    def forward(self, x: Tensor) -> Tensor:
        segments = x.split(self.sizes, dim=1)
        return self.act(torch.cat([tower(s) for tower, s in zip(self.towers.values(), segments, strict=True)], dim=1))


@operators.register("mix_k357")
@dataclass(frozen=True)
class MixedDepthwise(Operator):
    """Channels in three near-equal segments with 3x3, 5x5 and 7x7 depthwise, each with its batch norm."""

    scope = "spatial"
    source = "Hybrid hypothesis (Ghosh), section 3 (towers of differing receptive field); MixConv"
    summary = "3x3, 5x5, 7x7 depthwise on three channel segments, BN, act"
    kernels: ClassVar[tuple[int, ...]] = (3, 5, 7)

    def unfit(self, slot: Slot) -> str | None:
        if slot.in_channels < len(self.kernels):
            return f"{slot.in_channels} channels cannot be split in {len(self.kernels)} segments"
        return None

    def cost(self, slot: Slot) -> Cost:
        total = Cost()
        for kernel, c in zip(self.kernels, near_equal_split(slot.in_channels, len(self.kernels)), strict=True):
            total += conv_cost(c, c, (kernel, kernel), slot.out_size, groups=c)
        return total

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        return MixedTowers(slot, self.kernels)
