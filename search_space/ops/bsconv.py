"""Blueprint separable convolutions (Haase & Amthor) as whole blocks."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from torch import nn

from search_space.layer_cost import Cost, conv_cost
from search_space.layered.forms import WithBasis, subspace
from search_space.layers import ConvNormAct, in_series
from search_space.padding import Direction
from search_space.registry import Operator, Slot, operators


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
    """`BlueprintU` whose pointwise is factorised through a subspace (BSConv eq. 8).

    It has ``subspace(in_channels, share, least)`` channels (`search_space.layered.forms`). By default that is p = 1/6,
    as the paper's MobileNets have it (section 5.1).
    """

    source = "BSConv, section 3.3.2"
    summary = "pointwise to ceil(c_in / 6), pointwise, k x k depthwise, BN, act"
    share: int = 6
    least: int = 1

    def cost(self, slot: Slot) -> Cost:
        inner = subspace(slot.in_channels, self.share, self.least)
        basis = conv_cost(slot.in_channels, inner, (1, 1), (slot.height, slot.width), norm=False)
        return basis + super().cost(replace(slot, in_channels=inner))

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        inner = subspace(slot.in_channels, self.share, self.least)
        return WithBasis(
            OrderedDict(
                basis=nn.Conv2d(slot.in_channels, inner, 1, bias=False),
                pointwise=nn.Conv2d(inner, slot.out_channels, 1, bias=False),
                depthwise=_depthwise(slot, self.kernel),
            )
        )
