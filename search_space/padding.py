"""Padding of even-sized kernels: one direction per layer, assigned over the whole network.

A k x k kernel with even k needs k - 1 zeros in each dimension, so one side gets one zero more. Which side it is shifts
the feature map by half a pixel; the strategies here make the shifts of a network cancel.
"""

from __future__ import annotations

from enum import Enum


class Direction(Enum):
    """Sides (horizontal, vertical) that get the extra zero; ``FOUR_GROUP`` gives each quarter of the channels its own.

    The value is (left, right, top, bottom) in units of the extra zero.
    """

    RIGHT_BOTTOM = (0, 1, 0, 1)
    LEFT_TOP = (1, 0, 1, 0)
    LEFT_BOTTOM = (1, 0, 0, 1)
    RIGHT_TOP = (0, 1, 1, 0)
    FOUR_GROUP = None

    def zeros(self, kernel: int) -> tuple[int, int, int, int]:
        """Zeros on (left, right, top, bottom) for an even ``kernel``, in the order of ``torch.nn.functional.pad``."""
        if self.value is None:
            raise ValueError("Direction.FOUR_GROUP has no single padding: pad each channel group by its own direction")
        left, right, top, bottom = self.value
        common = kernel // 2 - 1
        return (common + left, common + right, common + top, common + bottom)


#: D1, D2, D3, D0 of XSepConv (section 3.2, eq. 5), in the order in which they are assigned.
CYCLE = (Direction.RIGHT_BOTTOM, Direction.LEFT_TOP, Direction.LEFT_BOTTOM, Direction.RIGHT_TOP)

#: Directions of the four channel groups of C2sp/C4sp (Wu et al., section 3.2).
FOUR_GROUPS = (Direction.LEFT_TOP, Direction.RIGHT_BOTTOM, Direction.LEFT_BOTTOM, Direction.RIGHT_TOP)


def direction_at(position: int) -> Direction:
    """``D[i % 4]`` for the i-th even-sized layer, ``position`` = i counted from 1 (XSepConv eq. 6)."""
    return CYCLE[(position - 1) % 4]


def assign_directions(layers: int) -> tuple[Direction, ...]:
    """Directions of all ``layers`` even-sized layers of a network, in forward order (XSepConv section 3.2). The shifts
    cancel if 4 divides ``layers``, else to one pixel; a last layer that would shift alone pads by four groups
    instead."""
    directions = [direction_at(position) for position in range(1, layers + 1)]
    if layers % 4 == 1:
        directions[-1] = Direction.FOUR_GROUP
    return tuple(directions)


def near_equal_split(channels: int, parts: int) -> tuple[int, ...]:
    """``channels`` in ``parts`` segments whose sizes differ by at most one, the larger first."""
    size, rest = divmod(channels, parts)
    return tuple(size + (index < rest) for index in range(parts))
