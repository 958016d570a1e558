"""ResNeXt's block: transformations of equal shape, aggregated by a sum, as a grouped convolution (Xie et al.)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from search_space.layer_cost import Cost, conv_cost
from search_space.layers import ConvNormAct, in_series
from search_space.padding import Direction
from search_space.registry import Operator, Slot, operators


@operators.register("resnext_k{kernel}", kernel=(3, 5))
@dataclass(frozen=True)
class ResNeXt(Operator):
    """1x1 to the inner width, grouped k x k with 4 channels per path, 1x1 back (Xie et al. fig. 3c).

    The inner width is half of ``out_channels``, to the nearest multiple of 4 and at least 4, as in ResNeXt 32x4d
    (128 of 256 channels in 32 paths); a half rounds up.
    """

    scope = "block"
    source = "Hybrid hypothesis (Ghosh), section 4; ResNeXt (Xie et al.), section 3"
    summary = "1x1 to c_out / 2, BN, act, k x k with 4 channels per group, BN, act, 1x1, BN, act after the residual"
    activation_after_residual = True
    #: d of 32x4d
    path_width: ClassVar[int] = 4

    kernel: int

    def _paths(self, slot: Slot) -> int:
        """Cardinality: how many groups the k x k convolution has."""
        return max(1, (slot.out_channels + self.path_width) // (2 * self.path_width))

    def cost(self, slot: Slot) -> Cost:
        paths = self._paths(slot)
        inner = paths * self.path_width
        reduce = conv_cost(slot.in_channels, inner, (1, 1), (slot.height, slot.width))
        spatial = conv_cost(inner, inner, (self.kernel, self.kernel), slot.out_size, groups=paths)
        return reduce + spatial + conv_cost(inner, slot.out_channels, (1, 1), slot.out_size)

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        paths, act = self._paths(slot), slot.activation
        inner = paths * self.path_width
        return in_series(
            reduce=ConvNormAct(slot.in_channels, inner, 1, activation=act),
            paths=ConvNormAct(inner, inner, self.kernel, stride=slot.stride, groups=paths, activation=act),
            restore=ConvNormAct(inner, slot.out_channels, 1),
        )
