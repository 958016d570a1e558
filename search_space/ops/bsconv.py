"""Blueprint separable convolutions (Haase & Amthor) as whole blocks."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

from torch import nn

from search_space.layer_cost import Cost, conv_cost
from search_space.layers import ConvNormAct, in_series
from search_space.padding import Direction
from search_space.registry import Operator, Slot, operators


class _BlueprintS(nn.Sequential):
    basis: nn.Conv2d

    def orthonormal_bases(self) -> list[nn.Conv2d]:
        """Convolutions whose weight is a subspace basis W_B: `search_space.network` regularises them."""
        return [self.basis]


def _depthwise(slot: Slot, kernel: int) -> nn.Module:
    out = slot.out_channels
    return ConvNormAct(out, out, kernel, stride=slot.stride, groups=out, activation=slot.activation)


@operators.register("bsconv_u_k{kernel}", kernel=(3, 5, 7))
@dataclass(frozen=True)
class BlueprintU(Operator):
    """Pointwise, then depthwise k x k: equals a dense kernel ``F[n, m] = w[n, m] * B[n]`` (BSConv eq. 2)."""

    scope = "block"
    source = "BSConv, section 3.3.1"
    summary = "pointwise (bare), k x k depthwise, BN, act"

    kernel: int

    def cost(self, slot: Slot) -> Cost:
        out = slot.out_channels
        # the pointwise comes first, so it sees the map before a stride
        pointwise = conv_cost(slot.in_channels, out, (1, 1), (slot.height, slot.width), norm=False)
        return pointwise + conv_cost(out, out, (self.kernel, self.kernel), slot.out_size, groups=out)

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        return in_series(
            pointwise=nn.Conv2d(slot.in_channels, slot.out_channels, 1, bias=False),
            depthwise=_depthwise(slot, self.kernel),
        )


@operators.register("bsconv_s_k{kernel}", kernel=(3, 5, 7))
@dataclass(frozen=True)
class BlueprintS(BlueprintU):
    """`BlueprintU` whose pointwise is factorised through a subspace of ``ceil(p * in_channels)`` (BSConv eq. 8)."""

    source = "BSConv, section 3.3.2"
    summary = "pointwise to ceil(c_in / 6), pointwise, k x k depthwise, BN, act"
    #: p of the paper's MobileNets (section 5.1)
    ratio: ClassVar[Fraction] = Fraction(1, 6)

    def _subspace(self, slot: Slot) -> int:
        return math.ceil(self.ratio * slot.in_channels)

    def cost(self, slot: Slot) -> Cost:
        subspace = self._subspace(slot)
        basis = conv_cost(slot.in_channels, subspace, (1, 1), (slot.height, slot.width), norm=False)
        return basis + super().cost(replace(slot, in_channels=subspace))

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        subspace = self._subspace(slot)
        return _BlueprintS(
            OrderedDict(
                basis=nn.Conv2d(slot.in_channels, subspace, 1, bias=False),
                pointwise=nn.Conv2d(subspace, slot.out_channels, 1, bias=False),
                depthwise=_depthwise(slot, self.kernel),
            )
        )
