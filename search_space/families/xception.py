"""Xception (Chollet 2017, figure 5), with and without its residuals (section 4.6), with an activation between depthwise
and pointwise convolution (section 4.7), and with BSConv-U (BSConv table 4).

All convolutions keep the size but for their stride, where Keras' first two lose the border: the parameters are the
same. For inputs below 128 pixels the first two down-samplings keep the size, as those of the macros do.
"""

from __future__ import annotations

from search_space.families.family import Design, Family, Request, register
from search_space.layered.joined import Series, residual
from search_space.layered.layer import Layer
from search_space.layered.simple import Act, Conv, Norm, Pool

_STEM = (32, 64)
_ENTRY = (128, 256, 728)
_MIDDLE = (728, 8)
_EXIT = ((728, 1024), (1536, 2048))


def _separable(form: str, channels: tuple[int, ...], *, first_act: bool = True) -> list[Layer]:
    """Separable convolutions with a batch norm each, and an activation in front of each."""
    layers: list[Layer] = [part for c in channels for part in (Act(), Conv(form, c), Norm())]
    return layers if first_act else layers[1:]


def _design(request: Request) -> Design:
    between = request.parts["between"]
    form = f"sep_{between}_k3" if between else "bsconv_u_k3" if request.parts["bsconv"] else "sep_k3"
    has_residuals = request.parts["bare"] is None

    def module(layers: list[Layer], channels: int, *, down: bool, keeps: bool = False) -> Layer:
        branch = [*layers, Pool("max", 3, 2)] if down else layers
        shortcut = () if keeps else (Conv("k1", channels, 2 if down else 1), Norm())
        return residual(*branch, shortcut=shortcut) if has_residuals else Series.of(*branch)

    def wide(*channels: int) -> tuple[int, ...]:
        return tuple(map(request.channels, channels))

    low = request.low_resolution
    narrow, stem = wide(*_STEM)
    body: list[Layer] = [
        Series.of(Conv("k3", narrow, 1 if low else 2), Norm(), Act()),
        Series.of(Conv("k3", stem), Norm(), Act()),
    ]
    for number, channels in enumerate(wide(*_ENTRY)):
        layers = _separable(form, (channels, channels), first_act=number > 0)
        body.append(module(layers, channels, down=number > 0 or not low))
    middle, repeats = request.channels(_MIDDLE[0]), _MIDDLE[1]
    body += [module(_separable(form, (middle,) * 3), middle, down=False, keeps=True)] * repeats
    last = wide(*_EXIT[0])
    body.append(module(_separable(form, last), last[-1], down=True))
    body += [Series.of(Conv(form, channels), Norm(), Act()) for channels in wide(*_EXIT[1])]
    return Design(tuple(body))


register(
    Family(
        usage="xception[-noresidual][-relu|-elu|-bsconv-u]",
        summary="Xception, also without residuals, or with an activation between its convolutions [Xception 3 and 4]",
        pattern=r"xception(?P<bare>-noresidual)?(?:-(?P<between>relu|elu)|(?P<bsconv>-bsconv-u))?",
        names=(
            *(f"xception{bare}{between}" for bare in ("", "-noresidual") for between in ("", "-relu", "-elu")),
            "xception-bsconv-u",
        ),
        design=_design,
    )
)
