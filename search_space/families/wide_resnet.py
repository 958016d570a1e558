"""Wide ResNets (Zagoruyko & Komodakis 2016): WRN-DEPTH-K, and with the papers' operators for their 3x3 convolutions.

Batch norm and activation lie in front of each convolution (He et al. 2016, "Identity mappings"). Where a block changes
the shape, its shortcut is a 1x1 convolution behind the block's first activation. There is no dropout.
"""

from __future__ import annotations

from search_space.families.resnet import CHANNELS, blocks_per_stage
from search_space.layered.family import LISTED, OPERATOR, Design, Family, Request, register
from search_space.layered.joined import Series, residual
from search_space.layered.layer import Layer
from search_space.layered.simple import Act, Conv, Norm


def pair(form: str, inner: int, out: int, stride: int) -> tuple[Layer, ...]:
    """The two convolutions of a block and what lies between them, behind its first activation."""
    return (Conv(form, inner, stride), Norm(), Act(), Conv(form, out))


def block(form: str, given: int, inner: int, out: int, stride: int) -> Layer:
    """A whole block: the first activation lies in front of the shortcut too where that is a convolution."""
    if stride == 1 and given == out:
        return residual(Norm(), Act(), *pair(form, inner, out, stride))
    return Series.of(Norm(), Act(), residual(*pair(form, inner, out, stride), shortcut=(Conv("k1", out, stride),)))


def _design(request: Request) -> Design:
    repeats = blocks_per_stage(request.name, request.number("depth"), 4)
    form, given = request.form(), request.channels(CHANNELS[0])
    body: list[Layer] = [Conv(request.first_form(), given)]
    for stage, base in enumerate(CHANNELS):
        channels = request.channels(base * request.number("k"))
        for index in range(repeats):
            body.append(block(form, given, channels, channels, 2 if stage and not index else 1))
            given = channels
    return Design((*body, Series.of(Norm(), Act())))


_LISTED_SIZES = ((16, 4), (28, 10), (40, 3), (40, 8))

register(
    Family(
        usage="wrn-DEPTH-K[-OPERATOR]",
        summary="Wide ResNet of DEPTH 6n + 4 and K times as wide, 16, 28 or 40 say [BSConv section 5.1]",
        pattern=rf"wrn-(?P<depth>[1-9]\d{{0,5}})-(?P<k>[1-9]\d?){OPERATOR}",
        names=tuple(f"wrn-{depth}-{k}{operator}" for depth, k in _LISTED_SIZES for operator in LISTED),
        design=_design,
    )
)
