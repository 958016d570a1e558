"""Even-sized kernels, depthwise and dense, with and without symmetric padding (Wu et al.)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from search_space.layer_cost import Cost, conv_cost
from search_space.layers import EvenConvNormAct
from search_space.ops.depthwise import Depthwise
from search_space.padding import Direction
from search_space.registry import Operator, Slot, operators


@operators.register("c{kernel}sp", kernel=(2, 4))
@dataclass(frozen=True)
class SymmetricEven(Depthwise):
    """2x2 / 4x4 depthwise with four-group symmetric padding: no mean shift (section 3.2)."""

    source = "Even-sized kernels (Wu et al.), section 3.2"
    summary = "k x k depthwise (k even) with four-group symmetric padding, BN, act"
    channelwise = False  # the padding groups move with the number of channels
    padding: ClassVar[Direction] = Direction.FOUR_GROUP

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        c = slot.in_channels
        return EvenConvNormAct(
            c, c, self.kernel, self.padding, stride=slot.stride, groups=c, activation=slot.activation
        )


@operators.register("c{kernel}", kernel=(2, 4))
@dataclass(frozen=True)
class AsymmetricEven(SymmetricEven):
    """The same, padded right and bottom only: shows the shift problem (section 3.1)."""

    source = "Even-sized kernels (Wu et al.), section 3.1"
    summary = "k x k depthwise (k even) padded right and bottom only, BN, act: an ablation"
    channelwise = True
    padding = Direction.RIGHT_BOTTOM


@operators.register("c{kernel}sp_conv", kernel=(2, 4))
@dataclass(frozen=True)
class SymmetricEvenConv(Operator):
    """Dense 2x2 / 4x4 convolution, c_in -> c_out; the four groups of padding are those of its input channels."""

    scope = "block"
    source = "Even-sized kernels (Wu et al.), section 3.2"
    summary = "dense k x k (k even) with four-group symmetric padding, BN, act"
    padding: ClassVar[Direction] = Direction.FOUR_GROUP

    kernel: int

    def cost(self, slot: Slot) -> Cost:
        return conv_cost(slot.in_channels, slot.out_channels, (self.kernel, self.kernel), slot.out_size)

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        return EvenConvNormAct(
            slot.in_channels,
            slot.out_channels,
            self.kernel,
            self.padding,
            stride=slot.stride,
            activation=slot.activation,
        )


class AsymmetricEvenConv(SymmetricEvenConv):
    """The same, padded right and bottom only; an ablation for conversions and analyses, not a candidate."""

    source = "Even-sized kernels (Wu et al.), section 3.1"
    summary = "dense k x k (k even) padded right and bottom only, BN, act: an ablation"
    padding = Direction.RIGHT_BOTTOM
