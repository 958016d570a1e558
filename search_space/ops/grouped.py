"""Grouped convolution: the spectrum from depthwise to regular (Xception section 2)."""

from __future__ import annotations

from dataclasses import dataclass

from search_space.ops.depthwise import Depthwise
from search_space.registry import Slot, operators


@operators.register("group_k{kernel}_w{group_width}", kernel=(3, 5), group_width=(2, 4, 8, 16))
@dataclass(frozen=True)
class Grouped(Depthwise):
    """k x k convolution with ``group_width`` channels per group; 1 would be depthwise, all channels regular."""

    source = "Xception, section 2 (discrete spectrum of channel segments)"
    summary = "k x k grouped convolution with w channels per group, BN, act"
    channelwise = False

    group_width: int

    def unfit(self, slot: Slot) -> str | None:
        if slot.in_channels % self.group_width:
            return f"{slot.in_channels} channels are not divisible by the group width {self.group_width}"
        return None

    def groups(self, channels: int) -> int:
        return channels // self.group_width
