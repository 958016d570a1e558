"""Depthwise convolution, and the same without the activation behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from search_space.layer_cost import Cost, conv_cost
from search_space.layers import ConvNormAct
from search_space.padding import Direction
from search_space.registry import Operator, Slot, operators


@operators.register("dw_k{kernel}", kernel=(3, 5, 7))
@dataclass(frozen=True)
class Depthwise(Operator):
    """k x k depthwise convolution, batch norm, activation: the spatial operator of MobileNets."""

    scope = "spatial"
    source = "MobileNetV3; the baseline of XSepConv (table 1)"
    summary = "k x k depthwise, BN, act"
    channelwise = True
    #: None for the block's
    activation: ClassVar[str | None] = None

    kernel: int

    def groups(self, channels: int) -> int:
        """How many groups the convolution has."""
        return channels

    def cost(self, slot: Slot) -> Cost:
        c = slot.in_channels
        return conv_cost(c, c, (self.kernel, self.kernel), slot.out_size, groups=self.groups(c))

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        c, act = slot.in_channels, self.activation or slot.activation
        return ConvNormAct(c, c, self.kernel, stride=slot.stride, groups=self.groups(c), activation=act)


@operators.register("dw_linear_k{kernel}", kernel=(3, 5, 7))
@dataclass(frozen=True)
class LinearDepthwise(Depthwise):
    """`Depthwise` with nothing between it and the pointwise convolution (Xception section 4.7)."""

    source = "Xception, section 4.7"
    summary = "k x k depthwise, BN, no activation after it"
    activation = "none"
