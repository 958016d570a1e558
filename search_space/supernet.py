"""One block of a supernet: inverted residuals of many operators and widths around the same 1x1 convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from search_space.architecture import Block
from search_space.layers import ConvNormAct, EvenPad
from search_space.network import (
    InvertedResidual,
    Network,
    WholeBlock,
    around_whole,
    directed_layers,
    initialise_layer,
    make_expand,
    make_project,
    make_se,
)
from search_space.padding import Direction, direction_at
from search_space.registry import operators
from search_space.sliced import Sliced, layers_with_weights

Make = Callable[[Block], nn.Module]


def supernet_candidates(
    choices: Sequence[Block], names: Sequence[str], *, index: int, size: int
) -> dict[str, nn.Module]:
    """Modules of the candidates at block ``index`` on a ``size`` x ``size`` map, by name.

    All inverted residuals share one expansion, one projection and one squeeze-and-excitation of the largest widths that
    occur, those with one operator its layers too, and so do whole-block operators with several numbers of inner
    channels; narrower ones use the first channels (slimmable networks, Yu et al. 2019). Even-sized layers are padded by
    the direction of the block's position.
    """

    def directions(block: Block) -> tuple[Direction, ...]:
        return (direction_at(index + 1),) * directed_layers(block)

    def make_operator(block: Block) -> nn.Module:
        return block.definition.module(block.slot(size, size), directions(block))

    residuals = [block for block in choices if block.is_inverted_residual]
    wholes = [block for block in choices if not block.is_inverted_residual and not block.is_skip]
    bodies = {
        name: _SharedLayer(make_operator, [block for block in wholes if block.operator == name])
        for name in dict.fromkeys(block.operator for block in wholes)
    }
    # an output channel of a 1x1 convolution does not depend on how many there are
    expand = _SharedLayer(make_expand, [block for block in residuals if block.has_expand], is_prefix=True)
    se = _SharedLayer(make_se, [block for block in residuals if block.se_channels])
    project = _SharedLayer(make_project, residuals)
    spatial = {
        name: _SharedLayer(
            make_operator,
            [block for block in residuals if block.operator == name],
            is_prefix=operators[name].channelwise,
        )
        for name in dict.fromkeys(block.operator for block in residuals)
    }
    candidates: dict[str, nn.Module] = {}
    for name, block in zip(names, choices, strict=True):
        if block.is_inverted_residual:
            candidates[name] = InvertedResidual(
                expand.part(block) if block.has_expand else nn.Identity(),
                spatial[block.operator].part(block),
                se.part(block) if block.se_channels else nn.Identity(),
                project.part(block),
                residual=block.residual,
                orthonormal=False,
            )
        elif block.is_skip:
            candidates[name] = nn.Identity()
        else:
            candidates[name] = around_whole(block, bodies[block.operator].part(block))
    return candidates


def pad_as_in_supernet(network: Network) -> None:
    """Give the even-sized layers of ``network`` the padding that they have in a supernet, in place: weights inherited
    from one were trained under it, and under its own padding a layer that down-samples would see other pixels."""
    for index, (block, module) in enumerate(zip(network.architecture.blocks, network.blocks, strict=True)):
        if directed_layers(block) == 0:
            continue
        for layer in module.modules():
            if isinstance(layer, EvenPad):
                layer.direction = direction_at(index + 1)


class _SharedLayer:
    """One layer for several candidates, as wide as the widest of them needs it; it is listed by that one."""

    def __init__(self, make: Make, choices: Sequence[Block], *, is_prefix: bool = False) -> None:
        self.make = make
        self.is_prefix = is_prefix
        self._parts: dict[tuple[int, int], nn.Module] = {}
        if choices:
            # what squeeze-and-excitation there is matters to that layer alone
            self._by_squeeze = make is make_se
            widest = max(choices, key=lambda block: (_inner(block), block.se_channels))
            self._parts[self._width(widest)] = self._wide = make(widest)

    def part(self, block: Block) -> nn.Module:
        """The layer as ``block`` uses it: itself, or the first of its channels."""
        width = self._width(block)
        if width not in self._parts:
            self._parts[width] = Sliced(self._wide, lambda: self.make(block), is_prefix=self.is_prefix)
        return self._parts[width]

    def _width(self, block: Block) -> tuple[int, int]:
        return _inner(block), block.se_channels if self._by_squeeze else 0


def _inner(block: Block) -> int:
    """The channels between the convolutions of a block: 0 stands for as many as go out."""
    return block.expanded_channels or block.out_channels


#: Standard deviation of the noise on an identity kernel, times the square root of the kernel's area.
_NOISE = 0.1


def initialise_supernet(supernet: nn.Module) -> None:
    """`initialise_layer`, then residual branches that start at zero and depthwise kernels that start near the identity.

    The last batch norm of a residual branch, or its last convolution if no norm follows, gets scale 0 (Goyal et al.
    2017, section 5.1), so that each such block starts as the identity whatever its candidate -- and equal to ``skip``,
    but for operators whose activation follows the sum.
    """
    layers = list(layers_with_weights(supernet))
    for module in layers:
        initialise_layer(module)
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels == module.out_channels:
            _near_identity(module)
    for module in layers:  # some end in a convolution, which has been initialised by now
        if isinstance(module, InvertedResidual) and module.residual and isinstance(module.project, ConvNormAct):
            nn.init.zeros_(module.project.norm.weight)
        elif isinstance(module, WholeBlock) and module.residual and not isinstance(module.body, Sliced):
            last = [layer for layer in module.body.modules() if isinstance(layer, nn.BatchNorm2d | nn.Conv2d)][-1]
            nn.init.zeros_(last.weight)


@torch.no_grad()
def _near_identity(conv: nn.Conv2d) -> None:
    height, width = conv.kernel_size
    conv.weight.normal_(std=_NOISE / (height * width) ** 0.5)
    # the middle; of an even kernel the one of its four middle taps that comes first
    conv.weight[:, 0, (height - 1) // 2, (width - 1) // 2] += 1
