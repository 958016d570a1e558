"""ResNets for small images (He et al. 2016, section 4.2), and with the papers' operators for their 3x3 convolutions.

Shortcuts that change the shape are 1x1 convolutions with batch norm: the form that meets BSConv's parameters (table 2),
as its authors' package has it.
"""

from __future__ import annotations

from search_space.base.checks import refusal
from search_space.families.family import LISTED, OPERATOR, Design, Family, Request, register
from search_space.layered.joined import Series, residual
from search_space.layered.layer import Layer
from search_space.layered.residual import pair, shortcut
from search_space.layered.simple import Act, Conv, Norm

#: Channels of the three stages; the second and the third begin with a stride of 2.
CHANNELS = (16, 32, 64)
#: The deepest network: what is deeper is a slip.
DEEPEST = 2000


def blocks_per_stage(name: str, depth: int, beside: int, where: str = "baseline") -> int:
    """How many blocks of two layers each of three stages has in a network of ``depth`` layers, ``beside`` of which lie
    outside of them; InvalidRequest, beginning with ``where``, if there is no such network."""
    blocks, rest = divmod(depth - beside, 6)
    if rest or blocks < 1 or depth > DEEPEST:
        near = sorted({6 * max(1, blocks) + beside, 6 * (max(1, blocks) + 1) + beside})
        why = f"has no depth of 6n + {beside} layers, at most {DEEPEST}"
        raise refusal(where, name, why, f"use {' or '.join(map(str, near))} for {depth}")
    return blocks


def _design(request: Request) -> Design:
    repeats = blocks_per_stage(request.name, request.number("depth"), 2)
    form, given = request.form(), request.channels(CHANNELS[0])
    body: list[Layer] = [Series.of(Conv(request.first_form(), given), Norm(), Act())]
    for stage, channels in enumerate(map(request.channels, CHANNELS)):
        for index in range(repeats):
            stride = 2 if stage and not index else 1
            around = shortcut(given, channels, stride)
            body.append(Series.of(residual(*pair(form, channels, channels, stride), shortcut=around), Act()))
            given = channels
    return Design(tuple(body))


register(
    Family(
        usage="resnet-DEPTH[-OPERATOR]",
        summary="ResNet for small images, DEPTH 6n + 2 [BSConv section 5.1; even-sized kernels section 4.1]",
        pattern=rf"resnet-(?P<depth>[1-9]\d{{0,5}}){OPERATOR}",
        names=tuple(f"resnet-{depth}{operator}" for depth in (20, 56, 110) for operator in LISTED),
        design=_design,
    )
)
