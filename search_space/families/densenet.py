"""DenseNets (Huang et al. 2017), with the papers' operators for their 3x3 convolutions.

``densenet-40`` is the plain form for small images: three blocks, growth rate k = 12, 16 channels first.
``densenet-bc-100`` has bottlenecks of 4k channels, transitions that halve the channels, and 2k channels first;
``densenet-121`` is the network for large images. The even-kernel paper (section 4.1) takes depths of 6n + 4 and leaves
open which form; it prints no figures for it. Its Wide-DenseNet (table 2: K = 48, L = 50) is here
``densenet-bc-52-k48-c2sp``.

With c2sp and c4sp the receptive fields of a DenseNet are off-centre, though those of its layers are not. Each layer's
channels go behind all others, so the next layer has them in the last of its four groups, and always pads them on the
same sides: what comes through many layers of a block is shifted by each of them alike.
"""

from __future__ import annotations

from search_space.base.checks import refusal
from search_space.families.family import OPERATOR, Design, Family, Request, register
from search_space.layered.joined import Join, Series
from search_space.layered.layer import Layer
from search_space.layered.simple import Act, Conv, Norm, Pool

_GROWTH = 12
_BOTTLENECK = 4
_DEEPEST = 1000
#: DenseNet-121, table 1
_LARGE_BLOCKS = (6, 12, 24, 16)
_LARGE_GROWTH = 32


def _dense(form: str, growth: int, *, bottleneck: bool) -> Layer:
    """The input, and behind it the ``growth`` channels that are made of it."""
    narrow: tuple[Layer, ...] = (Conv("k1", _BOTTLENECK * growth), Norm(), Act()) if bottleneck else ()
    return Join("concat", (Series(()), Series((Norm(), Act(), *narrow, Conv(form, growth)))))


def _body(
    blocks: tuple[int, ...], given: int, growth: int, form: str, *, bottleneck: bool, halves: bool
) -> tuple[Layer, ...]:
    """Blocks of dense layers behind ``given`` channels, with a transition between two, and the last activation."""
    body: list[Layer] = []
    for number, repeats in enumerate(blocks):
        body += [_dense(form, growth, bottleneck=bottleneck)] * repeats
        given += repeats * growth
        if number < len(blocks) - 1:
            given = given // 2 if halves else given
            body.append(Series.of(Norm(), Act(), Conv("k1", given), Pool("mean", 2, 2)))
    return (*body, Series.of(Norm(), Act()))


def _small(request: Request) -> Design:
    bottleneck = request.parts["bc"] is not None
    depth, layers = request.number("depth"), 6 if bottleneck else 3
    repeats, rest = divmod(depth - 4, layers)
    if rest or repeats < 1 or depth > _DEEPEST:
        raise refusal("baseline", request.name, f"has no depth of {layers}n + 4 layers, at most {_DEEPEST}")
    growth = request.channels(int(request.parts["growth"] or _GROWTH))
    first = 2 * growth if bottleneck else request.channels(16)
    blocks = (repeats,) * 3
    body = _body(blocks, first, growth, request.form(), bottleneck=bottleneck, halves=bottleneck)
    return Design((Conv(request.first_form(), first), *body))


def _large(request: Request) -> Design:
    growth = request.channels(_LARGE_GROWTH)
    low = request.low_resolution
    first: list[Layer] = [Series.of(Conv("k7", 2 * growth, 1 if low else 2), Norm(), Act())]
    if not low:
        first.append(Pool("max", 3, 2))
    body = _body(_LARGE_BLOCKS, 2 * growth, growth, request.form(), bottleneck=True, halves=True)
    return Design((*first, *body))


register(
    Family(
        usage="densenet[-bc]-DEPTH[-kK][-OPERATOR]",
        summary="DenseNet for small images, growth rate 12 or K (Wide-DenseNet: 48), 3n + 4 deep (bc: 6n + 4)"
        " [even-sized kernels 4.1, 4.2]",
        pattern=rf"densenet-(?P<bc>bc-)?(?P<depth>(?!121)[1-9]\d{{0,3}})(?:-k(?P<growth>[1-9]\d{{0,2}}))?{OPERATOR}",
        names=(
            *("densenet-40", "densenet-40-c2sp", "densenet-112", "densenet-112-c2sp", "densenet-bc-100"),
            *("densenet-bc-100-c2sp", "densenet-bc-52-k48-c2sp"),
        ),
        design=_small,
    )
)

register(
    Family(
        usage="densenet-121[-OPERATOR]",
        summary="DenseNet-121 [BSConv table 4; even-sized kernels table 3]",
        pattern=rf"densenet-121{OPERATOR}",
        names=("densenet-121", "densenet-121-bsconv-u", "densenet-121-c2sp"),
        design=_large,
    )
)
