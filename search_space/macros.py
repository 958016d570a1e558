"""Macro-architectures: the hand-designed skeletons, as architectures with their original operators."""

from __future__ import annotations

from dataclasses import dataclass

from search_space.architecture import Architecture, Block, Head, Stem
from search_space.errors import InvalidRequest

#: Inputs below this side (pixels) keep the stem and first block at stride 1, as the papers do for 32 and 56 pixels.
LOW_RESOLUTION_BELOW = 128


@dataclass(frozen=True)
class Row:
    """One line of MobileNetV3's table: kernel, expanded and output channels, SE, activation, stride at high and at
    low resolution."""

    kernel: int
    expanded: int
    out: int
    se: bool
    activation: str
    stride: int
    low_stride: int


# MobileNetV3 (Howard et al. 2019), table 2; the low-resolution strides are those of XSepConv's CIFAR networks.
_MOBILENETV3_SMALL = (
    Row(3, 16, 16, True, "relu", 2, 1),
    Row(3, 72, 24, False, "relu", 2, 2),
    Row(3, 88, 24, False, "relu", 1, 1),
    Row(5, 96, 40, True, "hardswish", 2, 2),
    Row(5, 240, 40, True, "hardswish", 1, 1),
    Row(5, 240, 40, True, "hardswish", 1, 1),
    Row(5, 120, 48, True, "hardswish", 1, 1),
    Row(5, 144, 48, True, "hardswish", 1, 1),
    Row(5, 288, 96, True, "hardswish", 2, 2),
    Row(5, 576, 96, True, "hardswish", 1, 1),
    Row(5, 576, 96, True, "hardswish", 1, 1),
)

MACROS = ("mobilenetv3-small",)


def divisible(value: float, divisor: int = 8) -> int:
    """``value`` rounded to a multiple of ``divisor``, but never below 90% of it (MobileNets' rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def macro(
    name: str, *, image_size: int = 32, in_channels: int = 3, classes: int = 10, width: float = 1.0
) -> Architecture:
    """The hand-designed network ``name`` for square inputs of ``image_size`` pixels.

    ``width`` multiplies all channels (rounded to multiples of 8). Squeeze-and-excitation has no biases and the head
    none of it, as in XSepConv's experiments. InvalidRequest for an unknown name or an impossible size.
    """
    if name not in MACROS:
        raise InvalidRequest(f"macro: {name!r} is unknown; known are {', '.join(MACROS)}")
    if not 0 < width <= 16:
        raise InvalidRequest(f"width: {width!r} must be a multiplier above 0 and at most 16")
    if not isinstance(image_size, int) or image_size < 8:
        raise InvalidRequest(f"image_size: {image_size!r} must be a whole number of at least 8 pixels")
    low = image_size < LOW_RESOLUTION_BELOW
    stem = Stem(channels=divisible(16 * width), stride=1 if low else 2)
    blocks = []
    channels = stem.channels
    for row in _MOBILENETV3_SMALL:
        expanded, out = divisible(row.expanded * width), divisible(row.out * width)
        stride = row.low_stride if low else row.stride
        blocks.append(
            Block(
                operator=f"dw_k{row.kernel}",
                in_channels=channels,
                expanded_channels=expanded,
                out_channels=out,
                stride=stride,
                activation=row.activation,
                se_channels=divisible(expanded / 4) if row.se else 0,
                residual=stride == 1 and channels == out,
            )
        )
        channels = out
    head = Head(channels=6 * channels, features=divisible(1024 * width))
    return Architecture(name, image_size, in_channels, classes, stem, tuple(blocks), head)
