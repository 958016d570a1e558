"""FractalNet (Larsson et al. 2016): five blocks of columns, with dense or separable convolutions.

The hybrid paper (fig. 5) says neither how deep its FractalNet is nor how wide: the names give the depth, the widths are
those of Larsson et al. for CIFAR. Their drop-path is a way of training; there is none here.
"""

from __future__ import annotations

from search_space.base.checks import require
from search_space.families.family import OPERATOR, Design, Family, Request, register
from search_space.layered.fractal import Fractal
from search_space.layered.layer import Layer
from search_space.layered.simple import Act, Conv, Norm, Pool

_CHANNELS = (64, 128, 256, 512, 512)
#: layers of the longest path by the number of columns
_COLUMNS = {len(_CHANNELS) * 2 ** (columns - 1): columns for columns in range(1, 6)}


def _design(request: Request) -> Design:
    depth = request.number("depth")
    why = "has no depth of 5, 10, 20, 40 or 80 layers"
    require(depth in _COLUMNS, "baseline", request.name, why, "use 20, say")
    body: list[Layer] = []
    for channels in map(request.channels, _CHANNELS):
        body += [Fractal(_COLUMNS[depth], (Conv(request.form(), channels), Norm(), Act())), Pool("max", 2, 2)]
    return Design(tuple(body))


register(
    Family(
        usage="fractalnet-DEPTH[-OPERATOR]",
        summary="FractalNet of 5 blocks, DEPTH 5, 10, 20, 40 or 80, without drop-path [hybrid hypothesis fig. 5]",
        pattern=rf"fractalnet-(?P<depth>[1-9]\d{{0,3}}){OPERATOR}",
        names=("fractalnet-20", "fractalnet-20-sep"),
        design=_design,
    )
)
