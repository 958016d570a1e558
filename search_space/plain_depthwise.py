"""The same network with plain depthwise convolutions in place of other operators, at about the same cost."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from itertools import takewhile

from search_space.architecture import Architecture, Block
from search_space.base.sizes import LARGEST
from search_space.network_cost import block_cost
from search_space.ops import operators
from search_space.ops.depthwise import Depthwise
from search_space.registry import Operator

#: the plain depthwise convolutions, by their kernel sizes
PLAIN = {operator.kernel: name for name, operator in operators.items() if type(operator) is Depthwise}


def is_plain(block: Block) -> bool:
    """Whether a block has no other operator than a plain depthwise convolution."""
    return block.is_skip or block.operator in PLAIN.values()


def plain_operator(operator: Operator) -> str:
    """The depthwise convolution of the same kernel size as ``operator``, or of the nearest one: of two, the larger.

    The middle one stands for several sizes side by side."""
    sizes = sorted(getattr(operator, "kernels", None) or (getattr(operator, "kernel", 3),))
    kernel = sizes[len(sizes) // 2]
    return PLAIN[min(PLAIN, key=lambda plain: (abs(plain - kernel), -plain))]


def with_plain_depthwise(architecture: Architecture, blocks: Collection[int], metric: str = "macs") -> Architecture:
    """``architecture`` with a plain depthwise convolution in each of ``blocks``, counted from 0.

    The expanded width of each block is what makes it cost as much as before by ``metric``, "macs" or "params", as
    nearly as a whole number of channels allows. An operator that replaced the whole block gives way to an inverted
    residual without squeeze-and-excitation; all else of a block stays.
    """
    swapped = list(architecture.blocks)
    for index, (block, size) in enumerate(architecture.sized_blocks()):
        if index in blocks:
            plain = replace(block, operator=plain_operator(block.definition))
            swapped[index] = _at_cost(plain, getattr(block_cost(block, size), metric), size, metric)
    return replace(architecture, blocks=tuple(swapped))


def _at_cost(block: Block, wanted: int, size: int, metric: str) -> Block:
    """``block`` in the expanded width at which it costs most nearly what is ``wanted``, the narrower of equals."""

    def costs(width: int) -> int:
        return int(getattr(block_cost(replace(block, expanded_channels=width), size), metric))

    # a width equal to the input's needs no expansion and so is cheaper than its neighbours; else wider costs more
    below = takewhile(lambda width: costs(width) <= wanted, (w for w in range(1, LARGEST) if w != block.in_channels))
    last = max(below, default=1)
    tried = sorted({block.in_channels, last, last + 1, last + 2})
    best = min(tried, key=lambda width: (abs(costs(width) - wanted), width))
    return replace(block, expanded_channels=best)
