"""Depthwise convolution, and the same without the activation behind it."""

from __future__ import annotations

from dataclasses import dataclass

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

    kernel: int

    def cost(self, slot: Slot) -> Cost:
        c = slot.in_channels
        return conv_cost(c, c, (self.kernel, self.kernel), slot.out_size, groups=c)

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        return self._layer(slot, slot.activation)

    def _layer(self, slot: Slot, activation: str) -> nn.Module:
        c = slot.in_channels
        return ConvNormAct(c, c, self.kernel, stride=slot.stride, groups=c, activation=activation)


@operators.register("dw_linear_k{kernel}", kernel=(3, 5, 7))
@dataclass(frozen=True)
class LinearDepthwise(Depthwise):
    """`Depthwise` with nothing between it and the pointwise convolution (Xception section 4.7)."""

    source = "Xception, section 4.7"
    summary = "k x k depthwise, BN, no activation after it"

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        return self._layer(slot, "none")
