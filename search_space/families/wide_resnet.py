"""Wide ResNets (Zagoruyko & Komodakis 2016): WRN-DEPTH-K, and with the papers' operators for their 3x3 convolutions.

Batch norm and activation lie in front of each convolution (He et al. 2016, "Identity mappings"). Where a block changes
the shape, its shortcut is a 1x1 convolution behind the block's first activation. There is no dropout.
"""

from __future__ import annotations

from search_space.families.family import LISTED, OPERATOR, Design, Family, Request, register
from search_space.families.resnet import CHANNELS, blocks_per_stage
from search_space.layered.joined import Series
from search_space.layered.layer import Layer
from search_space.layered.residual import preactivated
from search_space.layered.simple import Act, Conv, Norm


def _design(request: Request) -> Design:
    repeats = blocks_per_stage(request.name, request.number("depth"), 4)
    form, given = request.form(), request.channels(CHANNELS[0])
    body: list[Layer] = [Conv(request.first_form(), given)]
    for stage, base in enumerate(CHANNELS):
        channels = request.channels(base * request.number("k"))
        for index in range(repeats):
            body.append(preactivated(given, form, channels, channels, 2 if stage and not index else 1))
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
