"""Grouped convolution: the spectrum from depthwise to regular (Xception section 2)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from search_space.layer_cost import Cost, conv_cost
from search_space.layers import ConvNormAct
from search_space.padding import Direction
from search_space.registry import Operator, Slot, operators


@operators.register("group_k{kernel}_w{group_width}", kernel=(3, 5), group_width=(2, 4, 8, 16))
@dataclass(frozen=True)
class Grouped(Operator):
    """k x k convolution with ``group_width`` channels per group; 1 would be depthwise, all channels regular."""

    scope = "spatial"
    source = "Xception, section 2 (discrete spectrum of channel segments)"
    summary = "k x k grouped convolution with w channels per group, BN, act"

    kernel: int
    group_width: int

    def unfit(self, slot: Slot) -> str | None:
        if slot.in_channels % self.group_width:
            return f"{slot.in_channels} channels are not divisible by the group width {self.group_width}"
        return None

    def cost(self, slot: Slot) -> Cost:
        c = slot.in_channels
        return conv_cost(c, c, (self.kernel, self.kernel), slot.out_size, groups=c // self.group_width)

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        c = slot.in_channels
        groups = c // self.group_width
        return ConvNormAct(c, c, self.kernel, stride=slot.stride, groups=groups, activation=slot.activation)
