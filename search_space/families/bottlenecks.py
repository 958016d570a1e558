"""EfficientNet-B0 (Tan & Le 2019, table 1) and MnasNet-B1 (Tan et al. 2019), plain and as BSConv-S models (table 4).

With ``-bsconv-s`` the structure stays: the projections of the inverted residuals become bases that the orthonormal loss
acts on (BSConv section 4.2), so costs are those of the plain networks. BSConv does not say which MnasNet it takes: this
is the one without squeeze-and-excitation. For inputs below 128 pixels the first two down-samplings keep the size.
"""

from __future__ import annotations

from dataclasses import dataclass

from search_space.families.family import Design, Family, Request, register
from search_space.layered.joined import Series, residual
from search_space.layered.layer import Layer
from search_space.layered.simple import Act, Conv, Norm, Squeeze


@dataclass(frozen=True)
class _Stage:
    """A row of the papers' tables: expansion, channels, repeats, stride of the first block, kernel."""

    expansion: int
    channels: int
    repeats: int
    stride: int
    kernel: int


_EFFICIENTNET = (
    _Stage(1, 16, 1, 1, 3),
    _Stage(6, 24, 2, 2, 3),
    _Stage(6, 40, 2, 2, 5),
    _Stage(6, 80, 3, 2, 3),
    _Stage(6, 112, 3, 1, 5),
    _Stage(6, 192, 4, 2, 5),
    _Stage(6, 320, 1, 1, 3),
)
_MNASNET = (
    _Stage(1, 16, 1, 1, 3),
    _Stage(3, 24, 3, 2, 3),
    _Stage(3, 40, 3, 2, 5),
    _Stage(6, 80, 3, 2, 5),
    _Stage(6, 96, 2, 1, 3),
    _Stage(6, 192, 4, 2, 5),
    _Stage(6, 320, 1, 1, 3),
)


def _design(request: Request, stages: tuple[_Stage, ...], activation: str, *, se: bool) -> Design:
    given, act = request.channels(32), Act(activation)
    body: list[Layer] = [Series.of(Conv("k3", given, 1 if request.low_resolution else 2), Norm(), act)]
    for number, stage in enumerate(stages):
        out = request.channels(stage.channels)
        for index in range(stage.repeats):
            stride = stage.stride if index == 0 and not (request.low_resolution and number == 1) else 1
            body.append(_block(request, stage, given, out, stride, act, se=se))
            given = out
    return Design((*body, Series.of(Conv("k1", request.channels(1280)), Norm(), act)))


def _block(request: Request, stage: _Stage, given: int, out: int, stride: int, act: Act, *, se: bool) -> Layer:
    layers: list[Layer] = []
    if stage.expansion > 1:
        layers += [Conv("k1", stage.expansion * given), Norm(), act]
    layers += [Conv(f"dw_k{stage.kernel}", stride=stride), Norm(), act]
    if se:
        layers.append(Squeeze(max(1, given // 4), act.activation))
    layers += [Conv("basis_k1" if request.parts["basis"] else "k1", out), Norm()]
    return residual(*layers) if stride == 1 and given == out else Series.of(*layers)


register(
    Family(
        usage="efficientnet-b0[-bsconv-s]",
        summary="EfficientNet-B0; -bsconv-s: orthonormal loss on its projections [BSConv section 4.2, table 4]",
        pattern=r"efficientnet-b0(?P<basis>-bsconv-s)?",
        names=("efficientnet-b0", "efficientnet-b0-bsconv-s"),
        design=lambda request: _design(request, _EFFICIENTNET, "silu", se=True),
    )
)

register(
    Family(
        usage="mnasnet-b1[-bsconv-s]",
        summary="MnasNet-B1; -bsconv-s: orthonormal loss on its projections [BSConv section 4.2, table 4]",
        pattern=r"mnasnet-b1(?P<basis>-bsconv-s)?",
        names=("mnasnet-b1", "mnasnet-b1-bsconv-s"),
        design=lambda request: _design(request, _MNASNET, "relu", se=False),
    )
)
