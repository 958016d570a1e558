"""XSepConv and its ablations (Chen et al.): depthwise convolution separated in space, plus a 2x2 depthwise one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from search_space.layer_cost import Cost, conv_cost
from search_space.layers import ConvNormAct, EvenConvNormAct, in_series
from search_space.padding import Direction
from search_space.registry import Operator, Slot, operators


def _separated(slot: Slot, kernel: int) -> nn.Module:
    """1 x k, then k x 1 depthwise, each with BN and activation; stride (1, s), then (s, 1) (XSepConv fig. 1b)."""
    c, s, act = slot.in_channels, slot.stride, slot.activation
    return in_series(
        row=ConvNormAct(c, c, (1, kernel), stride=(1, s), groups=c, activation=act),
        column=ConvNormAct(c, c, (kernel, 1), stride=(s, 1), groups=c, activation=act),
    )


def _separated_cost(slot: Slot, kernel: int) -> Cost:
    c, (h, w) = slot.in_channels, slot.out_size
    row = conv_cost(c, c, (1, kernel), (slot.height, w), groups=c)
    return row + conv_cost(c, c, (kernel, 1), (h, w), groups=c)


def _corner(slot: Slot, direction: Direction, stride: int = 1) -> EvenConvNormAct:
    c = slot.in_channels
    return EvenConvNormAct(c, c, 2, direction, stride=stride, groups=c, activation=slot.activation)


def _corner_cost(slot: Slot, size: tuple[int, int]) -> Cost:
    c = slot.in_channels
    return conv_cost(c, c, (2, 2), size, groups=c)


class CornerInParallel(nn.Module):
    """The separated convolution and the 2x2, outputs summed."""

    def __init__(self, slot: Slot, kernel: int, direction: Direction) -> None:
        super().__init__()
        self.separated = _separated(slot, kernel)
        self.corner = _corner(slot, direction, stride=slot.stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.separated(x) + self.corner(x)


@operators.register("xsep_k{kernel}", kernel=(3, 5, 7))
@dataclass(frozen=True)
class XSep(Operator):
    """2x2, 1 x k, k x 1 depthwise in series (XSepConv fig. 1, eqs. 3 and 4). Receptive field k + 1."""

    scope = "spatial"
    source = "XSepConv, section 3.1, fig. 1"
    summary = "2x2, 1 x k, k x 1 depthwise in series, each BN, act; the 2x2 padded by the network's directions"
    directed_layers = 1
    channelwise = True

    kernel: int

    def cost(self, slot: Slot) -> Cost:
        # the 2x2 comes first and keeps the map's size, also when the block down-samples
        return _corner_cost(slot, (slot.height, slot.width)) + _separated_cost(slot, self.kernel)

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        return in_series(corner=_corner(slot, directions[0]), separated=_separated(slot, self.kernel))


@operators.register("xsep_sp_k{kernel}", kernel=(3, 5, 7))
@dataclass(frozen=True)
class XSepOriginalPadding(XSep):
    """`XSep` whose 2x2 pads by four channel groups in every layer ("Original-Padding", XSepConv table 3)."""

    source = "XSepConv, section 4.3, table 3 (Original-Padding)"
    summary = "xsep with four-group symmetric padding of its 2x2"
    directed_layers = 0
    channelwise = False  # the padding groups move with the number of channels

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        return super().module(slot, (Direction.FOUR_GROUP,))


@operators.register("xsep_no2x2_k{kernel}", kernel=(3, 5, 7))
@dataclass(frozen=True)
class XSepWithoutCorner(Operator):
    """1 x k and k x 1 depthwise alone (XSepConv fig. 6b, table 2)."""

    scope = "spatial"
    source = "XSepConv, section 4.3, fig. 6b"
    summary = "1 x k, k x 1 depthwise in series, each BN, act"
    channelwise = True

    kernel: int

    def cost(self, slot: Slot) -> Cost:
        return _separated_cost(slot, self.kernel)

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        return _separated(slot, self.kernel)


@operators.register("xsep_b_k{kernel}", kernel=(3, 5, 7))
@dataclass(frozen=True)
class XSepBehind(Operator):
    """The 2x2 behind the 1 x k and k x 1 (XSepConv-B, fig. 6c); at stride 2 it sees the small map."""

    scope = "spatial"
    source = "XSepConv, section 4.3, fig. 6c"
    summary = "1 x k, k x 1, 2x2 depthwise in series, each BN, act"
    directed_layers: ClassVar[int] = 1
    channelwise = True

    kernel: int

    def cost(self, slot: Slot) -> Cost:
        return _separated_cost(slot, self.kernel) + _corner_cost(slot, slot.out_size)

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        return in_series(separated=_separated(slot, self.kernel), corner=_corner(slot, directions[0]))


@operators.register("xsep_p_k{kernel}", kernel=(3, 5, 7))
@dataclass(frozen=True)
class XSepParallel(XSepBehind):
    """The 2x2 in parallel to the 1 x k and k x 1, outputs summed (XSepConv-P, fig. 6d)."""

    source = "XSepConv, section 4.3, fig. 6d"
    summary = "2x2 in parallel to 1 x k, k x 1 depthwise, each BN, act, outputs summed"

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        return CornerInParallel(slot, self.kernel, directions[0])
