"""Darknet-19 (Redmon & Farhadi 2017, "YOLO9000", table 6), with dense or separable 3x3 convolutions.

The hybrid paper (fig. 6) does not say which DarkNet it takes; this is the one with published figures. For small inputs
its first two poolings are left out. The 1x1 convolution to the classes in front of the mean is the linear layer behind
it: the same function, for fewer multiply-accumulates.
"""

from __future__ import annotations

from search_space.families.family import OPERATOR, Design, Family, Request, register
from search_space.layered.joined import Series
from search_space.layered.layer import Layer
from search_space.layered.simple import Act, Conv, Norm, Pool

#: channels of the layers of each stage; in stages of several, every second kernel is 1x1
_STAGES = ((32,), (64,), (128, 64, 128), (256, 128, 256), (512, 256, 512, 256, 512), (1024, 512, 1024, 512, 1024))


def _design(request: Request) -> Design:
    body: list[Layer] = []
    for stage, widths in enumerate(_STAGES):
        if stage > (2 if request.low_resolution else 0):
            body.append(Pool("max", 2, 2))
        for index, channels in enumerate(map(request.channels, widths)):
            form = "k1" if index % 2 else request.form() if body else request.first_form()
            body.append(Series.of(Conv(form, channels), Norm(), Act("leaky_relu")))
    return Design(tuple(body))


register(
    Family(
        usage="darknet-19[-OPERATOR]",
        summary="Darknet-19 [hybrid hypothesis fig. 6, which does not say which DarkNet it takes]",
        pattern=rf"darknet-19{OPERATOR}",
        names=("darknet-19", "darknet-19-sep"),
        design=_design,
    )
)
