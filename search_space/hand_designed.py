"""Networks to compare with by name: hand-designed ones, those of families too, also shrunk or grown until they just fit
a budget, and those that searches found."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from search_space.architecture import Architecture
from search_space.base.checks import refusal, require, unknown
from search_space.base.errors import InvalidRequest
from search_space.families import family_names, family_network, is_family_name
from search_space.found import PREFIX, found_for, zoo
from search_space.layer_cost import Cost
from search_space.layered_network import PlainNetwork
from search_space.macros import MACROS, macro
from search_space.network_cost import cost

Change = Callable[[Architecture], Architecture]

#: widths are searched up to the largest that a macro-architecture takes
_WIDEST = 16.0
#: ``NAME@fit`` asks for a baseline in its widest form inside a budget
FIT_SUFFIX = "@fit"


def _plain(architecture: Architecture) -> Architecture:
    return architecture


def _for_5x5(*, middle: str | None = None, last: str | None = None, down: str | None = None) -> Change:
    """XSepConv section 4.2: other operators for some of the 5x5 depthwise convolutions, and nothing else.

    Args:
        middle: for those of stride 1 in front of the last down-sampling (the middle stage).
        last: for those of stride 1 behind it.
        down: for the first of stride 2.
    """

    def change(architecture: Architecture) -> Architecture:
        strided = [i for i, block in enumerate(architecture.blocks) if block.stride == 2]
        large = [i for i, block in enumerate(architecture.blocks) if block.operator == "dw_k5"]
        names = {i: last if i > strided[-1] else middle for i in large if i not in strided}
        names[next(i for i in large if i in strided)] = down
        return architecture.with_operators({i: name for i, name in names.items() if name is not None})

    return change


def _bsconv_s(architecture: Architecture) -> Architecture:
    """BSConv section 4.2: the structure stays, the projections become orthonormally regularised bases."""
    return replace(architecture, orthonormal=True)


def _bsconv_u(architecture: Architecture) -> Architecture:
    """BSConv section 4.1: every separable block becomes BSConv-U of the same kernel, without activation or norm behind
    its pointwise convolution, and without residual as MobileNetV1 has none."""
    blocks = tuple(
        replace(b, operator=b.operator.replace("dw_", "bsconv_u_"), expanded_channels=0, project_activation="none")
        for b in architecture.blocks
    )
    return replace(architecture, blocks=blocks)


_XSEP = _for_5x5(middle="xsep_k5", last="xsep_k3")
_ORTHONORMAL = "BSConv section 4.2: orthonormal loss on the projections"
_MIDDLE = "for the stride-1 5x5 in the middle stage of MobileNetV3-Small, all other layers depthwise"
_FIRST = "for the first stride-2 5x5 of MobileNetV3-Small, all other layers depthwise"
_BIASES = "as torchvision defines it: biases in SE and the hidden layer"

#: name -> (change, one line on it); the name begins with that of the macro-architecture
_BASELINES: dict[str, tuple[Change, str]] = {
    "mobilenetv3-small": (_plain, "MobileNetV3-Small with depthwise convolutions"),
    "mobilenetv3-small-xsep": (_XSEP, "XSepConv table 1"),
    "mobilenetv3-small-xsep-no2x2": (
        _for_5x5(middle="xsep_no2x2_k5", last="xsep_no2x2_k3"),
        "XSepConv table 2: without the 2x2",
    ),
    "mobilenetv3-small-xsep-b": (_for_5x5(middle="xsep_b_k5", last="xsep_b_k3"), "XSepConv table 3: 2x2 behind"),
    "mobilenetv3-small-xsep-p": (_for_5x5(middle="xsep_p_k5", last="xsep_p_k3"), "XSepConv table 3: 2x2 in parallel"),
    "mobilenetv3-small-xsep-sp": (
        _for_5x5(middle="xsep_sp_k5", last="xsep_sp_k3"),
        "XSepConv table 3: Original-Padding",
    ),
    "mobilenetv3-small-k7": (_for_5x5(middle="dw_k7"), f"XSepConv fig. 5: 7x7 {_MIDDLE}"),
    "mobilenetv3-small-xsep-k7": (_for_5x5(middle="xsep_k7"), f"XSepConv fig. 5: XSepConv k=7 {_MIDDLE}"),
    "mobilenetv3-small-down7": (_for_5x5(down="dw_k7"), f"XSepConv fig. 4: 7x7 {_FIRST}"),
    "mobilenetv3-small-xsep-down7": (_for_5x5(down="xsep_k7"), f"XSepConv fig. 4: down-sampling XSepConv k=7 {_FIRST}"),
    "mobilenetv3-small-bsconv-s": (_bsconv_s, _ORTHONORMAL),
    "mobilenetv3-small-torchvision": (_plain, f"MobileNetV3-Small {_BIASES}"),
    "mobilenetv3-large": (_plain, "MobileNetV3-Large with depthwise convolutions"),
    "mobilenetv3-large-xsep": (_XSEP, "XSepConv section 4.2's rule on MobileNetV3-Large"),
    "mobilenetv3-large-bsconv-s": (_bsconv_s, _ORTHONORMAL),
    "mobilenetv3-large-torchvision": (_plain, f"MobileNetV3-Large {_BIASES}"),
    "mobilenetv2": (_plain, "MobileNetV2: inverted residuals with linear bottlenecks"),
    "mobilenetv2-bsconv-s": (_bsconv_s, _ORTHONORMAL),
    "mobilenetv1": (_plain, "MobileNetV1: depthwise separable convolutions"),
    "mobilenetv1-bsconv-u": (_bsconv_u, "BSConv section 4.1: BSConv-U for every separable convolution"),
}


def baselines() -> dict[str, str]:
    """Names of all baselines with one line on each."""
    return {name: summary for name, (_, summary) in _BASELINES.items()}


def named_networks() -> list[str]:
    """Names of networks that `baseline` makes; of families only those that the papers report on."""
    return [*_BASELINES, *family_names(), *zoo()]


def is_named(name: str) -> bool:
    """Whether ``name`` is the name of a network that `baseline` makes."""
    return name in _BASELINES or is_family_name(name) or name in zoo()


def baseline(
    name: str,
    *,
    image_size: int | None = None,
    in_channels: int | None = None,
    classes: int | None = None,
    width: float = 1.0,
) -> PlainNetwork:
    """The network ``name`` for square inputs of ``image_size`` pixels: a hand-designed one, or one of the zoo.

    It is an `Architecture` unless its name is one of a family (`search_space.families`).

    The sizes are by default 32 pixels, 3 channels and 10 classes, or those that a network of the zoo was found for;
    this one has no other ``width`` than its own. InvalidRequest for an unknown name or impossible sizes.
    """
    sizes = {"image_size": image_size, "in_channels": in_channels, "classes": classes}
    if name.startswith(PREFIX):
        why = f"{name} has the channels that it was found with"
        require(width == 1.0, "width", width, f"is impossible, as {why}", "leave it out")
        return found_for(name, **sizes)
    if not is_named(name):
        raise unknown("baseline", name, named_networks(), "sepnas list baselines")
    given = {"image_size": 32, "in_channels": 3, "classes": 10}
    given |= {field: value for field, value in sizes.items() if value is not None}
    if name not in _BASELINES:
        return family_network(name, **given, width=width)
    change, _ = _BASELINES[name]
    skeleton = max((known for known in MACROS if name.startswith(known)), key=len)
    return change(macro(skeleton, **given, width=width))


def fit_baseline(
    name: str, inside: Callable[[Cost], bool], *, image_size: int = 32, in_channels: int = 3, classes: int = 10
) -> tuple[PlainNetwork, float]:
    """The widest form of the baseline ``name`` whose cost is inside a budget, and its width multiplier.

    Channels are rounded to multiples of 8 (of families: 4), so the network changes at finitely many widths only, and no
    layer shrinks as the width grows: bisection down to neighbouring floats finds the widest exactly. Width 1 is tried
    as well: only there are channels left unrounded. ``inside`` must hold for every cost below one for which it holds.
    InvalidRequest if the name is unknown or no width is inside; networks of the zoo have no widths.
    """
    if name.startswith(PREFIX):
        raise refusal("baseline", f"{name}{FIT_SUFFIX}", "has no widths to fit to a budget", f"use {name} as it is")

    def network(width: float) -> PlainNetwork:
        return baseline(name, image_size=image_size, in_channels=in_channels, classes=classes, width=width)

    def fits(width: float) -> bool:
        return inside(cost(network(width)))

    narrow, wide = _WIDEST / 2**40, _WIDEST
    if fits(wide):
        return network(wide), wide
    if not fits(narrow):
        smallest = cost(network(narrow))
        raise InvalidRequest(
            f"baseline: {name}{FIT_SUFFIX} has no width inside the budget (its narrowest form costs"
            f" {smallest.macs:,} MACs, {smallest.params:,} params); loosen the budget or leave it out"
        )
    while (middle := (narrow + wide) / 2) not in (narrow, wide):
        narrow, wide = (middle, wide) if fits(middle) else (narrow, middle)
    best = network(narrow)
    if fits(1.0) and cost(network(1.0)).macs > cost(best).macs:
        return network(1.0), 1.0
    # rounded down, the width of fewest digits that gives the same network
    for digits in range(2, 17):
        short = math.floor(narrow * 10**digits) / 10**digits
        if short > 0 and network(short) == best:
            return best, short
    return best, narrow
