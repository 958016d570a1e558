"""ResNets for large images (He et al. 2016, table 1), and with the papers' operators for their k x k convolutions.

BSConv (section 5.2) takes basic blocks at every depth and has depths of its own; the even-kernel paper (table 3) takes
the bottlenecks of ResNet-50. Numbers of blocks beyond He et al.'s are those of BSConv's package. The first convolution,
7x7, stays as it is. For inputs below 128 pixels the first two down-samplings are left out.
"""

from __future__ import annotations

from search_space.base.checks import require
from search_space.families.family import OPERATOR, Design, Family, Request, register
from search_space.layered.joined import Series, residual
from search_space.layered.layer import Layer
from search_space.layered.residual import pair, shortcut
from search_space.layered.simple import Act, Conv, Norm, Pool

_CHANNELS = (64, 128, 256, 512)
#: depth -> blocks of each stage; those of 50 and 101 layers are bottlenecks
_BASIC = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    26: (3, 3, 3, 3),
    34: (3, 4, 6, 3),
    68: (3, 4, 23, 3),
    102: (3, 8, 36, 3),
}
_BOTTLENECKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
_EXPANSION = 4


def _bottleneck(form: str, inner: int, out: int, stride: int) -> tuple[Layer, ...]:
    """1x1, k x k with the stride, 1x1, a batch norm behind each."""
    return (Conv("k1", inner), Norm(), Act(), Conv(form, inner, stride), Norm(), Act(), Conv("k1", out), Norm())


def _design(request: Request) -> Design:
    depth, low = request.number("depth"), request.low_resolution
    known = {**_BASIC, **_BOTTLENECKS}
    why = f"has none of the depths {', '.join(map(str, sorted(known)))}"
    require(depth in known, "baseline", request.name, why)
    given = request.channels(_CHANNELS[0])
    body: list[Layer] = [Series.of(Conv("k7", given, 1 if low else 2), Norm(), Act())]
    if not low:
        body.append(Pool("max", 3, 2))
    branch, times = (_bottleneck, _EXPANSION) if depth in _BOTTLENECKS else (pair, 1)
    for stage, inner in enumerate(map(request.channels, _CHANNELS)):
        for index in range(known[depth][stage]):
            stride, out = 2 if stage and not index else 1, times * inner
            around = shortcut(given, out, stride)
            body.append(Series.of(residual(*branch(request.form(), inner, out, stride), shortcut=around), Act()))
            given = out
    return Design(tuple(body))


register(
    Family(
        usage="resnet-large-DEPTH[-OPERATOR]",
        summary="ResNet for large images, DEPTH 10, 18, 26, 34, 68 or 102; 50, 101: bottlenecks [BSConv section 5.2]",
        pattern=rf"resnet-large-(?P<depth>[1-9]\d{{0,2}}){OPERATOR}",
        names=(
            *(f"resnet-large-{depth}{form}" for depth in (10, 18, 26) for form in ("", "-bsconv-u")),
            *("resnet-large-34-bsconv-u", "resnet-large-68-bsconv-u", "resnet-large-102-bsconv-u"),
            *("resnet-large-50", "resnet-large-50-c2", "resnet-large-50-c2sp"),
        ),
        design=_design,
    )
)
