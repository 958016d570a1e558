"""Xception's separable convolution as a whole block."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from search_space.layer_cost import Cost, conv_cost
from search_space.layers import ConvNormAct
from search_space.padding import Direction
from search_space.registry import Operator, Slot, operators


class _Separable(nn.Module):
    def __init__(self, slot: Slot, kernel: int) -> None:
        super().__init__()
        c = slot.in_channels
        self.depthwise = nn.Conv2d(c, c, kernel, stride=slot.stride, padding=kernel // 2, groups=c, bias=False)
        self.pointwise = ConvNormAct(c, slot.out_channels, 1, activation=slot.activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


@operators.register("sep_k{kernel}", kernel=(3, 5, 7))
@dataclass(frozen=True)
class Separable(Operator):
    """Depthwise k x k, then pointwise, nothing between the two; batch norm and activation behind (Xception 3)."""

    scope = "block"
    source = "Xception, sections 3 and 4.7"
    summary = "k x k depthwise, pointwise, BN, act; nothing between the two"

    kernel: int

    def cost(self, slot: Slot) -> Cost:
        c = slot.in_channels
        depthwise = conv_cost(c, c, (self.kernel, self.kernel), slot.out_size, groups=c, norm=False)
        return depthwise + conv_cost(c, slot.out_channels, (1, 1), slot.out_size)

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        return _Separable(slot, self.kernel)
