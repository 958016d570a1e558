"""The architecture: one immutable value that says everything about a network and nothing about how it was found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from search_space.base.checks import check_choice, require, shown, unknown
from search_space.base.errors import InvalidRequest
from search_space.base.sizes import check_macro_name, check_size
from search_space.layer_cost import downsampled
from search_space.layers import ACTIVATIONS
from search_space.ops import operators
from search_space.registry import SKIP, Operator, Slot

#: In the text form, in front of the activation behind a block's projection.
OUT = "out-"
#: Of a stem without batch norm and activation, and of a head that begins with both.
BARE, NORM_FIRST = "bare", "bn"


@dataclass(frozen=True)
class Stem:
    """First layer: a dense 3x3 convolution with batch norm and activation, or without both if it is ``bare``."""

    channels: int
    stride: int
    activation: str = "hardswish"
    bare: bool = False

    def __str__(self) -> str:
        return _joined(f"stem c{self.channels} s{self.stride} {self.activation}", self.bare and BARE)


@dataclass(frozen=True)
class Block:
    """One position of the network: an operator between ``in_channels`` and ``out_channels``.

    ``expanded_channels`` > 0 marks an inverted residual around a spatial operator; a whole-block operator and ``skip``
    have 0, except that operators with inner channels of their own keep their number here, 0 for as many as go out. The
    1x1 expansion is left out where ``expanded_channels == in_channels``, as in MobileNetV3.
    ``se_channels`` > 0 adds squeeze-and-excitation of that squeeze width behind the spatial operator.
    ``project_activation`` follows the projection's batch norm, in front of the residual's sum where there is one:
    "none" is MobileNetV2's linear bottleneck, and MobileNetV1's block is an inverted residual without expansion and
    without residual whose projection has an activation.
    """

    operator: str
    in_channels: int
    out_channels: int
    stride: int = 1
    expanded_channels: int = 0
    activation: str = "relu"
    se_channels: int = 0
    se_bias: bool = False
    residual: bool = False
    project_activation: str = "none"

    @property
    def is_skip(self) -> bool:
        """True for the identity, which has no layers."""
        return self.operator == SKIP

    @property
    def definition(self) -> Operator:
        """The registered operator; InvalidRequest for ``skip`` (it has none) and unknown names."""
        return operators[self.operator]

    @property
    def family(self) -> str:
        """The operator's family, or ``skip``."""
        return SKIP if self.is_skip else operators.family(self.operator)

    @property
    def is_inverted_residual(self) -> bool:
        """Whether a spatial operator stands between 1x1 convolutions; else it is a whole-block operator or ``skip``."""
        whole = self.operator in operators and self.definition.scope == "block"
        return self.expanded_channels > 0 and not whole

    @property
    def has_expand(self) -> bool:
        """Whether a 1x1 expansion convolution stands in front of the spatial operator."""
        return self.is_inverted_residual and self.expanded_channels != self.in_channels

    def slot(self, height: int, width: int) -> Slot:
        """Where the operator sits when the block's input map is ``height`` x ``width``."""
        inner = self.expanded_channels
        around = not self.is_inverted_residual
        return Slot(
            in_channels=self.in_channels if around else inner,
            out_channels=self.out_channels if around else inner,
            stride=self.stride,
            height=height,
            width=width,
            activation=self.activation,
            inner_channels=inner if around else 0,
        )

    def check(self, where: str, height: int = 1, width: int = 1) -> None:
        """Raise InvalidRequest, beginning with ``where``, if the block is impossible."""
        for name in ("in_channels", "out_channels"):
            check_size(f"{where}.{name}", getattr(self, name), 1)
        for name in ("expanded_channels", "se_channels"):
            check_size(f"{where}.{name}", getattr(self, name), 0)
        check_choice(f"{where}.stride", self.stride, (1, 2))
        check_choice(f"{where}.activation", self.activation, ACTIVATIONS)
        check_choice(f"{where}.project_activation", self.project_activation, ACTIVATIONS)
        keeps_shape = self.stride == 1 and self.in_channels == self.out_channels
        if self.residual and not keeps_shape:
            raise InvalidRequest(
                f"{where}.residual: impossible, as {self.in_channels} channels at stride {self.stride} become"
                f" {self.out_channels}; a residual needs stride 1 and equal channels"
            )
        if self.is_skip:
            self._check_skip(where, keeps_shape)
            return
        if self.operator not in operators:
            raise unknown(f"{where}.operator", self.operator, [*operators, SKIP], "sepnas list operators")
        scope = self.definition.scope
        if scope == "spatial" and self.expanded_channels == 0:
            raise InvalidRequest(
                f"{where}.expanded_channels: 0, but {self.operator} is a spatial operator and needs at least 1"
            )
        expanded = 0 if self.definition.has_inner else self.expanded_channels
        if scope == "block" and (expanded or self.se_channels):
            raise InvalidRequest(
                f"{where}: {self.operator} replaces the whole block, so expanded_channels and se_channels must be 0,"
                f" not {self.expanded_channels} and {self.se_channels}"
            )
        if scope == "block" and self.project_activation != "none":
            raise InvalidRequest(
                f"{where}.project_activation: {self.project_activation!r}, but {self.operator} replaces the whole block"
                " and has no projection; it must be 'none'"
            )
        reason = self.definition.unfit(self.slot(height, width))
        if reason is not None:
            raise InvalidRequest(f"{where}.operator: {self.operator} does not fit, as {reason}")

    def _check_skip(self, where: str, keeps_shape: bool) -> None:
        if not keeps_shape:
            raise InvalidRequest(
                f"{where}.operator: skip is impossible, as {self.in_channels} channels at stride {self.stride} become"
                f" {self.out_channels}; it needs stride 1 and equal channels"
            )
        if self.expanded_channels or self.se_channels or self.se_bias or self.residual:
            raise InvalidRequest(
                f"{where}: skip has no layers, so expanded_channels, se_channels, se_bias and residual must go"
            )
        if self.project_activation != "none":
            raise InvalidRequest(
                f"{where}.project_activation: {self.project_activation!r}, but skip has no projection; it must be"
                " 'none'"
            )

    def __str__(self) -> str:
        if self.is_skip:
            return _joined(SKIP, f"c{self.out_channels}", self.activation != "relu" and self.activation)
        return _joined(
            self.operator,
            self.expanded_channels and f"e{self.expanded_channels}",
            f"c{self.out_channels} s{self.stride} {self.activation}",
            self.se_channels and f"se{self.se_channels}",
            self.se_bias and "sebias",
            self.residual and "res",
            self.project_activation != "none" and f"{OUT}{self.project_activation}",
        )


@dataclass(frozen=True)
class Head:
    """Last layers: 1x1 convolution with batch norm (``channels``, 0 for none), global mean, a hidden linear layer
    (``features``, 0 for none, with a bias if ``features_bias``), each with ``activation``, then the classifier. With
    ``norm_first`` a batch norm and the activation come first."""

    channels: int
    features: int
    activation: str = "hardswish"
    features_bias: bool = False
    norm_first: bool = False

    def __str__(self) -> str:
        return _joined(
            "head",
            self.channels and f"c{self.channels}",
            self.features and f"f{self.features}",
            self.features_bias and "fbias",
            self.norm_first and NORM_FIRST,
            self.activation,
        )


@dataclass(frozen=True)
class Architecture:
    """A whole network as a value: hashable, comparable, without torch modules, NNI or paths.

    ``macro`` names the family it comes from, for people. The input is ``(batch, in_channels, image_size, image_size)``,
    the output ``(batch, classes)``. ``orthonormal`` marks the projections of its inverted residuals as subspace bases
    W_B: training adds BSConv-S's orthonormal loss on them (BSConv section 4.2).

    Raises InvalidRequest naming the field and block of anything impossible.
    """

    macro: str
    image_size: int
    in_channels: int
    classes: int
    stem: Stem
    blocks: tuple[Block, ...]
    head: Head
    orthonormal: bool = False

    def __post_init__(self) -> None:
        check_macro_name("macro", self.macro)
        check_size("image_size", self.image_size, 1)
        check_size("in_channels", self.in_channels, 1)
        check_size("classes", self.classes, 2)
        check_size("stem.channels", self.stem.channels, 1)
        check_choice("stem.stride", self.stem.stride, (1, 2))
        check_choice("stem.activation", self.stem.activation, ACTIVATIONS)
        why = "is impossible in a bare stem, which has none"
        require(not self.stem.bare or self.stem.activation == "none", "stem.activation", self.stem.activation, why)
        check_size("head.channels", self.head.channels, 0)
        check_size("head.features", self.head.features, 0)
        check_choice("head.activation", self.head.activation, ACTIVATIONS)
        if not isinstance(self.blocks, tuple):  # a list would make the value mutable and unhashable
            raise InvalidRequest(f"blocks: {type(self.blocks).__name__} must be a tuple")
        if not self.blocks:
            raise InvalidRequest("blocks: empty; an architecture needs at least one block")
        channels = self.stem.channels
        for index, (block, size) in enumerate(self.sized_blocks()):
            where = f"blocks[{index}]"
            block.check(where, size, size)
            if block.in_channels != channels:
                raise InvalidRequest(
                    f"{where}.in_channels: {block.in_channels} does not follow the {channels} channels in front of it"
                )
            channels = block.out_channels

    def sized_blocks(self) -> Iterator[tuple[Block, int]]:
        """Each block with the side (pixels) of the square map it gets."""
        size = downsampled(self.image_size, self.stem.stride)
        for block in self.blocks:
            yield block, size
            size = downsampled(size, block.stride)

    @property
    def final_size(self) -> int:
        """Side (pixels) of the map that the head gets."""
        block, size = list(self.sized_blocks())[-1]
        return downsampled(size, block.stride)

    def with_operators(self, changes: dict[int, str]) -> Architecture:
        """The same network with the spatial operator of some inverted residuals exchanged: ``{index: name}``."""
        blocks = list(self.blocks)
        for index, name in changes.items():
            if not 0 <= index < len(blocks):
                raise InvalidRequest(f"blocks[{shown(index)}]: there are only {len(blocks)} blocks, counted from 0")
            blocks[index] = replace(blocks[index], operator=name)
        return replace(self, blocks=tuple(blocks))

    def __str__(self) -> str:
        """One line of text, from which `search_space.notation.parse` makes an equal value."""
        size = f"{self.in_channels}x{self.image_size}x{self.image_size}"
        parts = [f"{self.macro} {size} {self.classes}", self.stem, *self.blocks, self.head]
        return " | ".join([*map(str, parts), *(["orthonormal"] if self.orthonormal else [])])


def _joined(*tokens: str | int) -> str:
    """``tokens`` of a text, without those that are 0 or False: what has its default is left out."""
    return " ".join(str(token) for token in tokens if token)
