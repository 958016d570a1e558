"""Inception modules with towers of one kernel size, and their re-formulation (Xception, figures 2 and 3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from search_space.layer_cost import Cost, conv_cost
from search_space.layers import ACTIVATIONS, ConvNormAct
from search_space.padding import Direction, near_equal_split
from search_space.registry import Operator, Slot, operators

#: Towers of the simplified Inception module (Xception, figure 2).
_TOWERS = 3


def _widths(slot: Slot) -> tuple[int, ...]:
    """Output channels of each tower, which are the channels inside it too."""
    return near_equal_split(slot.out_channels, _TOWERS)


def _spatial(channels: int, kernel: int, stride: int) -> nn.Conv2d:
    """A tower's dense k x k convolution; one batch norm behind all towers is the same as one in each."""
    return nn.Conv2d(channels, channels, kernel, stride=stride, padding=kernel // 2, bias=False)


class InceptionTowers(nn.Module):
    """The towers; one batch norm and activation behind all of them."""

    def __init__(self, slot: Slot, kernel: int) -> None:
        super().__init__()
        self.widths = list(_widths(slot))
        self.reduce: Any = self._make_reduce(slot)
        self.spatial = nn.ModuleList(_spatial(width, kernel, slot.stride) for width in self.widths)
        self.norm = nn.BatchNorm2d(slot.out_channels)
        self.act = ACTIVATIONS[slot.activation]()

    def _make_reduce(self, slot: Slot) -> nn.Module:
        return nn.ModuleList(
            ConvNormAct(slot.in_channels, width, 1, activation=slot.activation) for width in self.widths
        )

    def _segments(self, x: Tensor) -> Iterable[Tensor]:
        return [reduce(x) for reduce in self.reduce]

    def forward(self, x: Tensor) -> Tensor:
        towers = [spatial(segment) for spatial, segment in zip(self.spatial, self._segments(x), strict=True)]
        return self.act(self.norm(torch.cat(towers, dim=1)))


class SegmentTowers(InceptionTowers):
    """The same with one 1x1 convolution, whose channels the towers share out."""

    def _make_reduce(self, slot: Slot) -> nn.Module:
        return ConvNormAct(slot.in_channels, slot.out_channels, 1, activation=slot.activation)

    def _segments(self, x: Tensor) -> Iterable[Tensor]:
        return self.reduce(x).split(self.widths, dim=1)


@operators.register("inception_k{kernel}", kernel=(3, 5))
@dataclass(frozen=True)
class Inception(Operator):
    """Three towers, each a 1x1 and a dense k x k convolution with BN and activation, side by side.

    Tower t maps ``in_channels`` to its near-equal share of ``out_channels`` by the 1x1, which sees the map before a
    stride, and keeps that width in the k x k.
    """

    scope = "block"
    source = "Xception, section 1.2, fig. 2; Hybrid hypothesis (Ghosh), section 4"
    summary = "three towers of 1x1, BN, act, dense k x k, BN, act, side by side"

    kernel: int

    def unfit(self, slot: Slot) -> str | None:
        if slot.out_channels < _TOWERS:
            return f"{slot.out_channels} output channels cannot be split in {_TOWERS} towers"
        return None

    def cost(self, slot: Slot) -> Cost:
        # the 1x1 convolutions of the towers are together one of in_channels to out_channels
        total = conv_cost(slot.in_channels, slot.out_channels, (1, 1), (slot.height, slot.width))
        for width in _widths(slot):
            total += conv_cost(width, width, (self.kernel, self.kernel), slot.out_size)
        return total

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        return InceptionTowers(slot, self.kernel)


@operators.register("inception_re_k{kernel}", kernel=(3, 5))
@dataclass(frozen=True)
class ReformulatedInception(Inception):
    """One 1x1 convolution, then a dense k x k on each of three segments of its channels: the same function."""

    source = "Xception, section 1.2, fig. 3; Hybrid hypothesis (Ghosh), section 4"
    summary = "1x1, BN, act, dense k x k on three channel segments, BN, act: equals inception"

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        return SegmentTowers(slot, self.kernel)
