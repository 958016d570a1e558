"""Xception's separable convolution as a whole block, its ablations, and the hybrid hypothesis' reading of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from search_space.layer_cost import Cost, conv_cost
from search_space.layers import ACTIVATIONS, ConvNormAct, in_series
from search_space.padding import Direction
from search_space.registry import Operator, Slot, operators


@operators.register("sep_k{kernel}", kernel=(3, 5, 7))
@dataclass(frozen=True)
class Separable(Operator):
    """Depthwise k x k, then pointwise, nothing between the two; batch norm and activation behind (Xception 3)."""

    scope = "block"
    source = "Xception, sections 3 and 4.7"
    summary = "k x k depthwise, pointwise, BN, act; nothing between the two"
    #: activation between the two convolutions; a batch norm is never there
    between: ClassVar[str] = "none"

    kernel: int

    def cost(self, slot: Slot) -> Cost:
        c = slot.in_channels
        depthwise = conv_cost(c, c, (self.kernel, self.kernel), slot.out_size, groups=c, norm=False)
        return depthwise + conv_cost(c, slot.out_channels, (1, 1), slot.out_size)

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        c, k = slot.in_channels, self.kernel
        return in_series(
            depthwise=nn.Conv2d(c, c, k, stride=slot.stride, padding=k // 2, groups=c, bias=False),
            between=ACTIVATIONS[self.between](),
            pointwise=ConvNormAct(c, slot.out_channels, 1, activation=slot.activation),
        )


@operators.register("sep_relu_k{kernel}", kernel=(3, 5, 7))
@dataclass(frozen=True)
class SeparableRelu(Separable):
    """`Separable` with ReLU between depthwise and pointwise, whatever the block's activation is."""

    source = "Xception, section 4.7, fig. 10"
    summary = "k x k depthwise, ReLU, pointwise, BN, act: an ablation"
    between = "relu"


@operators.register("sep_elu_k{kernel}", kernel=(3, 5, 7))
@dataclass(frozen=True)
class SeparableElu(Separable):
    """`Separable` with ELU between depthwise and pointwise, whatever the block's activation is."""

    source = "Xception, section 4.7, fig. 10"
    summary = "k x k depthwise, ELU, pointwise, BN, act: an ablation"
    between = "elu"


@operators.register("hybrid_k{kernel}", kernel=(3, 5, 7))
@dataclass(frozen=True)
class Hybrid(Separable):
    """ResNeXt with as many paths as channels (the depthwise), then Inception's 1x1, and the residual of ResNeXt:
    ``act(x + BN(pointwise(depthwise(x))))``; where there is no residual it is `Separable`."""

    source = "Hybrid hypothesis (Ghosh), section 3"
    summary = "k x k depthwise, pointwise, BN, act after the residual"
    activation_after_residual = True

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        return super().module(replace(slot, activation="none"), directions)
