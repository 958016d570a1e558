"""The forms of a convolution: dense, or one of the papers' operators in its place, bare: without norm and activation.

    k3  dw_k3  bsconv_u_k3  bsconv_s_p4_k3  bsconv_s_p4_min4_k3  c2  c2sp  c4sp  sep_k3  sep_relu_k3  basis_k1

``p4`` is a subspace of a quarter of the channels, ``min4`` one of at least 4 channels.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from torch import nn

from search_space.base.checks import refusal
from search_space.layer_cost import Cost, conv_cost
from search_space.layered.layer import Map
from search_space.layers import ACTIVATIONS, EvenPad, in_series
from search_space.padding import Direction

#: what refusals of a form give as examples
_KNOWN = "k3, dw_k3, bsconv_u_k3, bsconv_s_p4_k3, c2, c2sp, c4, c4sp, sep_k3, sep_relu_k3, sep_elu_k3 or basis_k1"
#: the largest kernel
_LARGEST = 31


class Form(ABC):
    """A convolution from ``given.channels`` to ``channels`` with "same" padding, without batch norm and activation."""

    #: whether it makes other channels than it gets
    changes_channels = True

    @abstractmethod
    def cost(self, given: Map, channels: int, stride: int, *, bias: bool) -> Cost:
        """Its cost at ``given``."""

    @abstractmethod
    def module(self, given: Map, channels: int, stride: int, *, bias: bool) -> nn.Module:
        """A fresh module: ``(b, *given) -> (b, channels, ceil(height / stride), ceil(width / stride))``."""


@dataclass(frozen=True)
class Dense(Form):
    """A dense k x k convolution, k odd."""

    kernel: int

    def cost(self, given: Map, channels: int, stride: int, *, bias: bool) -> Cost:
        return _cost(given.channels, channels, self.kernel, given.down(stride), bias=bias)

    def module(self, given: Map, channels: int, stride: int, *, bias: bool) -> nn.Module:
        return nn.Conv2d(given.channels, channels, self.kernel, stride, self.kernel // 2, bias=bias)


@dataclass(frozen=True)
class Depthwise(Form):
    """A k x k convolution of each channel by itself."""

    kernel: int
    changes_channels = False

    def cost(self, given: Map, channels: int, stride: int, *, bias: bool) -> Cost:
        return _cost(channels, channels, self.kernel, given.down(stride), groups=channels, bias=bias)

    def module(self, given: Map, channels: int, stride: int, *, bias: bool) -> nn.Module:
        return _depthwise(channels, self.kernel, stride, bias=bias)


@dataclass(frozen=True)
class Even(Form):
    """A dense convolution with an even kernel, padded right and bottom, or symmetrically in four groups of channels
    (Wu et al., section 3.2)."""

    kernel: int
    symmetric: bool

    def cost(self, given: Map, channels: int, stride: int, *, bias: bool) -> Cost:
        return _cost(given.channels, channels, self.kernel, given.down(stride), bias=bias)

    def module(self, given: Map, channels: int, stride: int, *, bias: bool) -> nn.Module:
        direction = Direction.FOUR_GROUP if self.symmetric else Direction.RIGHT_BOTTOM
        return in_series(
            pad=EvenPad(self.kernel, direction, given.channels),
            conv=nn.Conv2d(given.channels, channels, self.kernel, stride, bias=bias),
        )


@dataclass(frozen=True)
class BlueprintU(Form):
    """Pointwise, then depthwise (BSConv section 3.3.1); neither norm nor activation between the two."""

    kernel: int

    def cost(self, given: Map, channels: int, stride: int, *, bias: bool) -> Cost:
        pointwise = _cost(given.channels, channels, 1, given.down(1))
        return pointwise + _cost(channels, channels, self.kernel, given.down(stride), groups=channels, bias=bias)

    def module(self, given: Map, channels: int, stride: int, *, bias: bool) -> nn.Module:
        return in_series(
            pointwise=nn.Conv2d(given.channels, channels, 1, bias=False),
            depthwise=_depthwise(channels, self.kernel, stride, bias=bias),
        )


def subspace(channels: int, share: int, least: int) -> int:
    """How many channels the subspace of BSConv-S has: a ``share``-th of ``channels``, rounded up.

    ``least`` are kept where there are as many: the authors' package keeps 4, the paper none.
    """
    return min(channels, max(least, -(-channels // share)))


class WithBasis(nn.Sequential):
    """Layers of which ``basis`` holds a subspace basis W_B."""

    basis: nn.Conv2d

    def orthonormal_bases(self) -> list[nn.Conv2d]:
        """What training holds to be orthonormal: see `search_space.network.orthonormal_bases`."""
        return [self.basis]


@dataclass(frozen=True)
class BlueprintS(BlueprintU):
    """`BlueprintU` through a `subspace` of the channels (BSConv section 3.3.2)."""

    share: int
    least: int

    def cost(self, given: Map, channels: int, stride: int, *, bias: bool) -> Cost:
        inner = subspace(given.channels, self.share, self.least)
        basis = _cost(given.channels, inner, 1, given.down(1))
        return basis + super().cost(Map(inner, given.height, given.width), channels, stride, bias=bias)

    def module(self, given: Map, channels: int, stride: int, *, bias: bool) -> nn.Module:
        inner = subspace(given.channels, self.share, self.least)
        layers = WithBasis()
        layers.add_module("basis", nn.Conv2d(given.channels, inner, 1, bias=False))
        layers.add_module("pointwise", nn.Conv2d(inner, channels, 1, bias=False))
        layers.add_module("depthwise", _depthwise(channels, self.kernel, stride, bias=bias))
        return layers


@dataclass(frozen=True)
class Separable(Form):
    """Depthwise, then pointwise, with ``between`` between the two (Xception sections 3 and 4.7)."""

    kernel: int
    between: str

    def cost(self, given: Map, channels: int, stride: int, *, bias: bool) -> Cost:
        size = given.down(stride)
        depthwise = _cost(given.channels, given.channels, self.kernel, size, groups=given.channels)
        return depthwise + _cost(given.channels, channels, 1, size, bias=bias)

    def module(self, given: Map, channels: int, stride: int, *, bias: bool) -> nn.Module:
        return in_series(
            depthwise=_depthwise(given.channels, self.kernel, stride),
            between=ACTIVATIONS[self.between](),
            pointwise=nn.Conv2d(given.channels, channels, 1, bias=bias),
        )


@dataclass(frozen=True)
class Basis(Dense):
    """A dense convolution whose weight is a subspace basis W_B: BSConv-S in a linear bottleneck (section 4.2)."""

    def module(self, given: Map, channels: int, stride: int, *, bias: bool) -> nn.Module:
        layers = WithBasis()
        layers.add_module("basis", super().module(given, channels, stride, bias=bias))
        return layers


def _cost(
    given: int, channels: int, kernel: int, size: tuple[int, int], *, groups: int = 1, bias: bool = False
) -> Cost:
    return conv_cost(given, channels, (kernel, kernel), size, groups=groups, bias=bias, norm=False)


def _depthwise(channels: int, kernel: int, stride: int, *, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=bias)


#: what BSConv-S with a subspace of its own is called
SUBSPACE = r"bsconv_s_p(?P<share>[1-9]\d{0,3})(?:_min(?P<least>[1-9]\d{0,3}))?"
_PATTERN = re.compile(
    rf"(?:c(?P<even>[24])(?P<symmetric>sp)?|(?:(?P<kind>dw|bsconv_u|{SUBSPACE}"
    r"|sep(?:_(?P<between>relu|elu))?|basis)_)?k(?P<kernel>[1-9]\d?))"
)


@cache
def form(name: str, where: str = "form") -> Form:
    """The form called ``name``; InvalidRequest for the field ``where`` if there is none."""
    match = _PATTERN.fullmatch(name)
    if match is None:
        raise refusal(where, name, "is not a form of a convolution", f"write it like {_KNOWN}")
    if match["even"]:
        return Even(int(match["even"]), match["symmetric"] is not None)
    kernel, kind = int(match["kernel"]), match["kind"] or "dense"
    if kernel % 2 == 0 or kernel > _LARGEST:
        raise refusal(where, name, f"has no odd kernel of at most {_LARGEST}", "even ones are c2, c2sp, c4 and c4sp")
    if match["share"]:
        return BlueprintS(kernel, int(match["share"]), int(match["least"] or 1))
    if kind.startswith("sep"):
        return Separable(kernel, match["between"] or "none")
    plain: dict[str, Callable[[int], Form]] = {"dense": Dense, "dw": Depthwise, "bsconv_u": BlueprintU, "basis": Basis}
    return plain[kind](kernel)
