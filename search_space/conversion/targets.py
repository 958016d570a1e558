"""What layers can be converted to, and which layers each of it can replace."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from torch import Tensor, nn

from search_space.base.checks import check_choice
from search_space.conversion import factors
from search_space.layered.forms import SUBSPACE
from search_space.ops.bsconv import BlueprintS, BlueprintU
from search_space.ops.even import AsymmetricEvenConv, SymmetricEvenConv
from search_space.ops.separable import Separable
from search_space.ops.xsep import XSep, XSepBehind, XSepOriginalPadding, XSepWithoutCorner
from search_space.registry import Operator

#: dense: every filter sees all channels; grouped: several, but not all; depthwise: one
Kind = Literal["dense", "grouped", "depthwise"]
_KINDS: tuple[Kind, ...] = ("dense", "grouped", "depthwise")


@dataclass(frozen=True)
class Target:
    """A family of operators that replaces convolutions.

    Attributes:
        make: the operator, of a kernel size.
        takes: the kinds of layers that it can replace.
        nearest: fills the weights of a module of it from the kernel of a convolution, and returns the kernel that they
            make (`search_space.conversion.factors`).
        even: its kernel size, if that is even; else it has that of the layer it replaces.
        any_shape: whether that may be any, as 1x7; else it must be square.
        pads_zeros: whether it adds zeros itself, so that another padding mode cannot be kept.
        joins: whether batch norm and activation can stand between its layers.
    """

    make: Callable[[int], Operator]
    takes: tuple[Kind, ...]
    nearest: Callable[[Tensor, nn.Module], Tensor]
    even: int | None = None
    any_shape: bool = False
    pads_zeros: bool = False
    joins: bool = False


def _xsep(make: Callable[[int], Operator], *, corner: bool = True) -> Target:
    return Target(make, ("depthwise",), factors.row_and_column, pads_zeros=corner, joins=True)


def _even(kernel: int, make: Callable[[int], Operator]) -> Target:
    return Target(make, _KINDS, factors.even_sized, even=kernel, pads_zeros=True)


#: By the operators' names without kernel size. What even kernels are to a depthwise layer they are to a dense one.
TARGETS: dict[str, Target] = {
    "bsconv_u": Target(BlueprintU, ("dense", "grouped"), factors.blueprint_u, any_shape=True),
    "bsconv_s": Target(BlueprintS, ("dense",), factors.blueprint_s, any_shape=True),
    "sep": Target(Separable, ("dense", "grouped"), factors.separable, any_shape=True),
    "xsep": _xsep(XSep),
    "xsep_sp": _xsep(XSepOriginalPadding),
    "xsep_no2x2": _xsep(XSepWithoutCorner, corner=False),
    "xsep_b": _xsep(XSepBehind),
    "c2sp": _even(2, SymmetricEvenConv),
    "c4sp": _even(4, SymmetricEvenConv),
    "c2": _even(2, AsymmetricEvenConv),
    "c4": _even(4, AsymmetricEvenConv),
}


def target_of(name: str) -> Target:
    """The target called ``name``: one of `TARGETS`, or ``bsconv_s_pP`` or ``bsconv_s_pP_minM``, BSConv-S with a P-th of
    the channels in its subspace, and at least M. InvalidRequest, beginning with ``to``, if there is none."""
    if isinstance(name, str) and (match := re.fullmatch(SUBSPACE, name)):
        make = partial(BlueprintS, share=int(match["share"]), least=int(match["least"] or 1))
        return replace(TARGETS["bsconv_s"], make=make)
    return TARGETS[check_choice("to", name, TARGETS)]


def kind_of(layer: nn.Conv2d) -> Kind:
    """What kind of layer ``layer`` is; one with a single input channel is depthwise."""
    if layer.groups == layer.in_channels:
        return "depthwise"
    return "dense" if layer.groups == 1 else "grouped"
