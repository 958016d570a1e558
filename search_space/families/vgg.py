"""VGG-16 with batch norm (Simonyan & Zisserman 2015, column D), and with the papers' operators for its 3x3 layers.

Convolutions have no biases, as a batch norm follows. For inputs below 128 pixels the two hidden layers are left out, as
is usual there: the last map is as small as 1x1.
"""

from __future__ import annotations

from search_space.families.family import OPERATOR, Design, Family, Request, register
from search_space.layered.joined import Series
from search_space.layered.layer import Layer
from search_space.layered.simple import Act, Conv, Norm, Pool

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_HIDDEN = (4096, 4096)


def _design(request: Request) -> Design:
    body: list[Layer] = []
    for base, repeats in _STAGES:
        channels = request.channels(base)
        for _ in range(repeats):
            form = request.form() if body else request.first_form()
            body.append(Series.of(Conv(form, channels), Norm(), Act()))
        body.append(Pool("max", 2, 2))
    if request.low_resolution:
        return Design(tuple(body))
    return Design(tuple(body), pool=7, hidden=tuple(map(request.channels, _HIDDEN)))


register(
    Family(
        usage="vgg-16[-OPERATOR]",
        summary="VGG-16 with batch norm [BSConv table 4]",
        pattern=rf"vgg-16{OPERATOR}",
        names=("vgg-16", "vgg-16-bsconv-u"),
        design=_design,
    )
)
