"""A macro-architecture as a value: stem, stages and head, from which networks of any input size and width are made."""

from __future__ import annotations

from dataclasses import dataclass, fields

from search_space.architecture import Architecture, Block, Head, Stem
from search_space.base.checks import check_int, check_number, check_options, option, require, unknown
from search_space.base.errors import InvalidRequest
from search_space.base.sizes import check_macro_name, check_size
from search_space.layer_cost import downsampled
from search_space.layers import ACTIVATIONS
from search_space.options import MOST_WIDTH
from search_space.registry import operators

#: Inputs below this side (pixels) get the low-resolution strides, as in the papers' networks for 32 and 56 pixels.
LOW_RESOLUTION_BELOW = 128
#: Images of fewer pixels a side are refused.
SMALLEST_IMAGE = 8

_MOST_REPEATS = 1000


def divisible(value: float, divisor: int = 8) -> int:
    """``value`` rounded to a multiple of ``divisor``, but never below 90% of it (MobileNets' rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def scaled(channels: int, width: float) -> int:
    """``channels`` under a width multiplier: a multiple of 8 by `divisible`, but as it stands at width 1."""
    return channels if width == 1 else divisible(channels * width)


@dataclass(frozen=True)
class MacroStem:
    """The dense 3x3 convolution in front; ``low_resolution_stride`` is for small inputs (None: the same stride), a
    ``bare`` one has neither batch norm nor activation."""

    channels: int
    stride: int = option(2, choices=(1, 2))
    low_resolution_stride: int | None = option(None, choices=(1, 2))
    activation: str = option("hardswish", choices=ACTIVATIONS)
    bare: bool = False

    def check(self) -> None:
        """Raise InvalidRequest naming the field if the stem is impossible."""
        check_size("stem.channels", self.channels, 1)
        check_options(self, "stem")
        why = "is impossible in a bare stem, which has none"
        require(not self.bare or self.activation == "none", "stem.activation", self.activation, why, "give none")


@dataclass(frozen=True)
class Stage:
    """A row of ``repeats`` blocks with one operator and one number of output channels.

    The first block has ``stride`` (for small inputs ``low_resolution_stride``, None: the same), the others 1. The
    expanded channels of a spatial operator's inverted residuals are given either by ``expansion``, the ratio to each
    block's input channels, or by ``expanded_channels``, one number per block at width 1. ``se_ratio`` > 0 adds squeeze-
    and-excitation with that share of them (rounded to multiples of 8), with biases if ``se_bias``.
    ``project_activation`` follows the projection ("none": a linear bottleneck). A whole-block operator has none of
    these. ``residual`` adds the input to the output of every block that keeps the shape.
    """

    operator: str
    out_channels: int
    repeats: int = 1
    stride: int = option(1, choices=(1, 2))
    low_resolution_stride: int | None = option(None, choices=(1, 2))
    expansion: float | None = option(None, above=0, most=64)
    expanded_channels: tuple[int, ...] | None = None
    activation: str = option("relu", choices=ACTIVATIONS)
    se_ratio: float = option(0.0, least=0, most=1)
    se_bias: bool = False
    project_activation: str = option("none", choices=ACTIVATIONS)
    residual: bool = True

    def check(self, where: str) -> None:
        """Raise InvalidRequest, beginning with ``where``, if the stage is impossible at any width."""
        if not isinstance(self.operator, str) or self.operator not in operators:
            raise unknown(f"{where}.operator", self.operator, operators, "sepnas list operators")
        check_size(f"{where}.out_channels", self.out_channels, 1)
        repeats = check_int(f"{where}.repeats", self.repeats, 1)
        require(repeats <= _MOST_REPEATS, f"{where}.repeats", repeats, f"must be at most {_MOST_REPEATS}")
        if operators[self.operator].scope == "block":
            self._check_whole_block(where)
        else:
            self._check_expansion(where)
        check_options(self, where)
        if self.se_bias and not self.se_ratio:
            raise InvalidRequest(f"{where}.se_bias: True without squeeze-and-excitation; give se_ratio, 0.25 say")

    def _check_whole_block(self, where: str) -> None:
        why = f"is not possible, as {self.operator} replaces the whole block"
        for field in fields(self):
            if field.name in ("expansion", "expanded_channels", "se_ratio", "se_bias", "project_activation"):
                value = getattr(self, field.name)
                shown = list(value) if isinstance(value, tuple) else value
                require(value == field.default, f"{where}.{field.name}", shown, why, "leave it out")

    def _check_expansion(self, where: str) -> None:
        if (self.expansion is None) == (self.expanded_channels is None):
            given = "neither" if self.expansion is None else "both"
            raise InvalidRequest(
                f"{where}: {given} of expansion and expanded_channels given, but the inverted residuals around"
                f" {self.operator} need one of the two"
            )
        if self.expanded_channels is not None:
            where = f"{where}.expanded_channels"
            # a list would make the value mutable and unhashable
            why = "must be a list of whole numbers, one per block"
            require(isinstance(self.expanded_channels, tuple), where, self.expanded_channels, why)
            for index, channels in enumerate(self.expanded_channels):
                check_size(f"{where}[{index}]", channels, 1)
            if len(self.expanded_channels) != self.repeats:
                raise InvalidRequest(
                    f"{where}: {len(self.expanded_channels)} numbers for {self.repeats} block(s);"
                    " give one per block, as many as repeats says"
                )

    def blocks(self, in_channels: int, *, low_resolution: bool, width: float) -> tuple[Block, ...]:
        """The stage's blocks behind ``in_channels`` (already scaled) channels."""
        blocks: list[Block] = []
        out = scaled(self.out_channels, width)
        for index in range(self.repeats):
            stride = _stride(self, low_resolution) if index == 0 else 1
            expanded = self._expanded(index, in_channels, width)
            blocks.append(
                Block(
                    operator=self.operator,
                    in_channels=in_channels,
                    out_channels=out,
                    stride=stride,
                    expanded_channels=expanded,
                    activation=self.activation,
                    se_channels=divisible(expanded * self.se_ratio) if self.se_ratio else 0,
                    se_bias=self.se_bias,
                    residual=self.residual and stride == 1 and in_channels == out,
                    project_activation=self.project_activation,
                )
            )
            in_channels = out
        return tuple(blocks)

    def _expanded(self, index: int, in_channels: int, width: float) -> int:
        if self.expansion is not None:
            return max(1, round(in_channels * self.expansion))
        return scaled(self.expanded_channels[index], width) if self.expanded_channels else 0


@dataclass(frozen=True)
class MacroHead:
    """What follows the stages: a 1x1 convolution, the global mean, a hidden linear layer and the classifier.

    The convolution has ``channels`` channels, or ``expansion`` times those in front of it; it and the hidden layer of
    ``features`` are left out at 0. With ``shrinks`` False, both follow widths above 1 only. With
    ``norm_first`` a batch norm and the activation come first.
    """

    channels: int = 0
    expansion: int = 0
    features: int = 0
    features_bias: bool = False
    shrinks: bool = True
    norm_first: bool = False
    activation: str = option("hardswish", choices=ACTIVATIONS)

    def check(self) -> None:
        """Raise InvalidRequest naming the field if the head is impossible."""
        for name in ("channels", "expansion", "features"):
            check_size(f"head.{name}", getattr(self, name), 0)
        if self.channels and self.expansion:
            raise InvalidRequest(
                f"head.expansion: {self.expansion} beside channels {self.channels}; both say how wide the 1x1"
                " convolution is, give one of the two"
            )
        check_options(self, "head")
        if self.features_bias and not self.features:
            raise InvalidRequest("head.features_bias: True without a hidden layer; give features")
        if not self.shrinks and not (self.channels or self.features):
            raise InvalidRequest("head.shrinks: False, but there are no channels and features to keep; leave it out")

    def head(self, in_channels: int, *, width: float) -> Head:
        """The head behind ``in_channels`` (already scaled) channels."""
        own = width if self.shrinks else max(1.0, width)
        return Head(
            channels=scaled(self.channels, own) if self.channels else self.expansion * in_channels,
            features=scaled(self.features, own) if self.features else 0,
            activation=self.activation,
            features_bias=self.features_bias,
            norm_first=self.norm_first,
        )


@dataclass(frozen=True)
class MacroDefinition:
    """A macro-architecture: hashable, comparable, without torch modules; `architecture` makes networks of it. Raises
    InvalidRequest naming the field (``stages[2].stride``) of anything impossible."""

    name: str
    stem: MacroStem
    stages: tuple[Stage, ...]
    head: MacroHead

    def __post_init__(self) -> None:
        check_macro_name("name", self.name)
        self.stem.check()
        if not isinstance(self.stages, tuple):  # a list would make the value mutable and unhashable
            raise InvalidRequest(f"stages: {type(self.stages).__name__} must be a tuple")
        if not self.stages:
            raise InvalidRequest("stages: empty; a macro needs at least one stage")
        for index, stage in enumerate(self.stages):
            stage.check(f"stages[{index}]")
        self.head.check()

    @property
    def stage_numbers(self) -> tuple[int, ...]:
        """The stage of each block, counted from 0."""
        return tuple(index for index, stage in enumerate(self.stages) for _ in range(stage.repeats))

    def architecture(
        self, *, image_size: int = 32, in_channels: int = 3, classes: int = 10, width: float = 1.0
    ) -> Architecture:
        """The network for square inputs of ``image_size`` pixels, its channels times ``width`` (to multiples of 8).
        InvalidRequest for an impossible size, and for an operator that does not fit the channels it gets."""
        check_number("width", width, above=0, most=MOST_WIDTH)
        check_size("image_size", image_size, SMALLEST_IMAGE)
        low = image_size < LOW_RESOLUTION_BELOW
        stem = Stem(scaled(self.stem.channels, width), _stride(self.stem, low), self.stem.activation, self.stem.bare)
        blocks: list[Block] = []
        channels, size = stem.channels, downsampled(image_size, stem.stride)
        for index, stage in enumerate(self.stages):
            for block in stage.blocks(channels, low_resolution=low, width=width):
                block.check(f"macro {self.name}: stages[{index}]", size, size)
                channels, size = block.out_channels, downsampled(size, block.stride)
                blocks.append(block)
        head = self.head.head(channels, width=width)
        return Architecture(self.name, image_size, in_channels, classes, stem, tuple(blocks), head)


def _stride(part: MacroStem | Stage, low_resolution: bool) -> int:
    if low_resolution and part.low_resolution_stride is not None:
        return part.low_resolution_stride
    return part.stride
