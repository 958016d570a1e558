"""The built-in macro-architectures, and the networks made of them.

Of every MobileNet the first two down-samplings have stride 1 for inputs below `LOW_RESOLUTION_BELOW` pixels, so that 32
pixels end in a 4x4 map: the rule of BSConv section 5.1, and of XSepConv's MobileNetV3-Small. The ResNets are those for
small images.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from search_space.architecture import Architecture
from search_space.base.checks import refusal, unknown
from search_space.families.resnet import CHANNELS, blocks_per_stage
from search_space.macro_definition import MacroDefinition, MacroHead, MacroStem, Stage


def _bottlenecks(
    kernel: int,
    expanded: tuple[int, ...],
    out: int,
    activation: str,
    *,
    se: bool = False,
    stride: int = 1,
    low_resolution_stride: int | None = None,
) -> Stage:
    """Rows of MobileNetV3's tables that have all but their expanded channels in common."""
    return Stage(
        operator=f"dw_k{kernel}",
        out_channels=out,
        repeats=len(expanded),
        stride=stride,
        low_resolution_stride=low_resolution_stride,
        expanded_channels=expanded,
        activation=activation,
        se_ratio=0.25 if se else 0.0,
    )


_V3_STEM = MacroStem(16, 2, 1, "hardswish")

# MobileNetV3 (Howard et al. 2019), tables 1 and 2. The head's first convolution is 6 times as wide as the last block,
# and the hidden layer follows every width multiplier, as in torchvision (the original's parameters at 0.75, 4.0 M and
# 2.4 M, suggest that its hidden layer does not shrink). Squeeze-and-excitation and the hidden layer have no biases and
# the head no squeeze-and-excitation: the form that meets XSepConv's figures.
_MOBILENETV3_SMALL = MacroDefinition(
    name="mobilenetv3-small",
    stem=_V3_STEM,
    stages=(
        _bottlenecks(3, (16,), 16, "relu", se=True, stride=2, low_resolution_stride=1),
        _bottlenecks(3, (72, 88), 24, "relu", stride=2),
        _bottlenecks(5, (96, 240, 240), 40, "hardswish", se=True, stride=2),
        _bottlenecks(5, (120, 144), 48, "hardswish", se=True),
        _bottlenecks(5, (288, 576, 576), 96, "hardswish", se=True, stride=2),
    ),
    head=MacroHead(expansion=6, features=1024),
)

_MOBILENETV3_LARGE = MacroDefinition(
    name="mobilenetv3-large",
    stem=_V3_STEM,
    stages=(
        _bottlenecks(3, (16,), 16, "relu"),
        _bottlenecks(3, (64, 72), 24, "relu", stride=2, low_resolution_stride=1),
        _bottlenecks(5, (72, 120, 120), 40, "relu", se=True, stride=2),
        _bottlenecks(3, (240, 200, 184, 184), 80, "hardswish", stride=2),
        _bottlenecks(3, (480, 672), 112, "hardswish", se=True),
        _bottlenecks(5, (672, 960, 960), 160, "hardswish", se=True, stride=2),
    ),
    head=MacroHead(expansion=6, features=1280),
)


def _v2(expansion: int, out: int, repeats: int, stride: int, low_resolution_stride: int | None = None) -> Stage:
    return Stage("dw_k3", out, repeats, stride, low_resolution_stride, expansion, activation="relu6")


# MobileNetV2 (Sandler et al. 2018), table 2. Its section 6.1: width multipliers below 1 leave the last convolution at
# 1280 channels; torchvision does the same.
_MOBILENETV2 = MacroDefinition(
    name="mobilenetv2",
    stem=MacroStem(32, 2, 1, "relu6"),
    stages=(
        _v2(1, 16, 1, 1),
        _v2(6, 24, 2, 2, 1),
        _v2(6, 32, 3, 2),
        _v2(6, 64, 4, 2),
        _v2(6, 96, 3, 1),
        _v2(6, 160, 3, 2),
        _v2(6, 320, 1, 1),
    ),
    head=MacroHead(channels=1280, shrinks=False, activation="relu6"),
)


def _v1(out: int, repeats: int, stride: int, low_resolution_stride: int | None = None) -> Stage:
    return Stage(
        "dw_k3", out, repeats, stride, low_resolution_stride, expansion=1, project_activation="relu", residual=False
    )


# MobileNetV1 (Howard et al. 2017), table 1: depthwise, BN, ReLU, pointwise, BN, ReLU. No layer but the classifier
# follows the last block; the stride 2 that the table prints for the last depthwise convolution is a slip (the map
# stays 7x7), and is 1 in the original code.
_MOBILENETV1 = MacroDefinition(
    name="mobilenetv1",
    stem=MacroStem(32, 2, 1, "relu"),
    stages=(_v1(64, 1, 1), _v1(128, 2, 2, 1), _v1(256, 2, 2), _v1(512, 6, 2), _v1(1024, 2, 2)),
    head=MacroHead(activation="relu"),
)


def _with_biases(definition: MacroDefinition, name: str) -> MacroDefinition:
    """The same under another name, with biases in squeeze-and-excitation and in the hidden linear layer."""
    return replace(
        definition,
        name=name,
        stages=tuple(replace(stage, se_bias=stage.se_ratio > 0) for stage in definition.stages),
        head=replace(definition.head, features_bias=definition.head.features > 0),
    )


_RESIDUAL = re.compile(r"resnet-([1-9]\d{0,3})|wrn-([1-9]\d{0,3})-([1-9]\d?)")


def residual_macro(name: str, where: str = "macro") -> MacroDefinition:
    """``resnet-DEPTH`` or ``wrn-DEPTH-K``: the networks of `search_space.families` whose blocks are one operator each.

    InvalidRequest, beginning with ``where``, for another name, and for a depth that there is not.
    """
    match = _RESIDUAL.fullmatch(name)
    if match is None:
        raise refusal(where, name, "is not a residual network", "write it like resnet-20 or wrn-16-4")
    wide = match[1] is None
    k = int(match[3]) if wide else 1
    repeats = blocks_per_stage(name, int(match[1] or match[2]), 4 if wide else 2, where)
    stages = tuple(
        Stage(
            operator="preres_k3" if wide else "res_k3",
            out_channels=channels * k,
            repeats=repeats,
            stride=2 if number else 1,
            activation="relu",
        )
        for number, channels in enumerate(CHANNELS)
    )
    stem = MacroStem(CHANNELS[0], 1, activation="none" if wide else "relu", bare=wide)
    return MacroDefinition(name, stem, stages, MacroHead(activation="relu", norm_first=wide))


_BUILT_IN = {
    definition.name: definition
    for definition in (
        _MOBILENETV3_SMALL,
        _MOBILENETV3_LARGE,
        _MOBILENETV2,
        _MOBILENETV1,
        # torchvision 0.29, models/mobilenetv3.py: the same tables, with the biases that XSepConv's form has not
        _with_biases(_MOBILENETV3_SMALL, "mobilenetv3-small-torchvision"),
        _with_biases(_MOBILENETV3_LARGE, "mobilenetv3-large-torchvision"),
        *map(residual_macro, ("resnet-20", "resnet-56", "resnet-110", "wrn-16-4", "wrn-28-10", "wrn-40-3", "wrn-40-8")),
    )
}

#: Names of the built-in macro-architectures.
MACROS = tuple(_BUILT_IN)


def built_in_macro(name: str, where: str = "macro") -> MacroDefinition:
    """The definition of the built-in macro ``name``, or of a ResNet of another depth; InvalidRequest, beginning with
    ``where``, for an unknown name."""
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    if _RESIDUAL.fullmatch(name):
        return residual_macro(name, where)
    raise unknown(where, name, MACROS, "sepnas list macros")


def macro(name_or_definition: str | MacroDefinition, **sizes: Any) -> Architecture:
    """The hand-designed network of a built-in macro (by name) or of a definition; ``sizes`` are those that
    `MacroDefinition.architecture` takes. InvalidRequest for an unknown name."""
    named = name_or_definition
    definition = named if isinstance(named, MacroDefinition) else built_in_macro(named)
    return definition.architecture(**sizes)
