"""Hand-designed networks to compare with. They are architectures like any other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from search_space.architecture import Architecture, Block
from search_space.base.checks import unknown
from search_space.macros import macro

Change = Callable[[Architecture], Architecture]


def _plain(architecture: Architecture) -> Architecture:
    return architecture


def _last_downsampling(architecture: Architecture) -> int:
    """Index of the last block with stride 2: the middle stage ends in front of it."""
    return max(index for index, block in enumerate(architecture.blocks) if block.stride == 2)


def _stride_1_k5(architecture: Architecture) -> list[int]:
    """Indices of the 5x5 depthwise convolutions that keep the map's size."""
    return [i for i, block in enumerate(architecture.blocks) if block.operator == "dw_k5" and block.stride == 1]


def _xsep(variant: str) -> Change:
    """XSepConv section 4.2: the stride-1 5x5 become k = 5 in the middle stage and k = 3 after the last down-sampling;
    down-sampling layers keep their depthwise convolution."""

    def change(architecture: Architecture) -> Architecture:
        last = _last_downsampling(architecture)
        return architecture.with_operators(
            {index: f"{variant}_k{3 if index > last else 5}" for index in _stride_1_k5(architecture)}
        )

    return change


def _larger_kernels(operator: str) -> Change:
    """XSepConv section 4.2, "Larger Kernels" (fig. 5): the stride-1 5x5 of the middle stage become ``operator``. The
    text exchanges nothing else, so the other layers keep their depthwise convolutions, those of the last stage too."""

    def change(architecture: Architecture) -> Architecture:
        last = _last_downsampling(architecture)
        return architecture.with_operators({i: operator for i in _stride_1_k5(architecture) if i < last})

    return change


def _downsampling(operator: str) -> Change:
    """XSepConv section 4.2, "Downsampling" (fig. 4): the first 5x5 of stride 2 becomes ``operator``. The text exchanges
    this one layer, so all others keep their depthwise convolutions."""

    def change(architecture: Architecture) -> Architecture:
        first = next(
            i for i, block in enumerate(architecture.blocks) if block.operator == "dw_k5" and block.stride == 2
        )
        return architecture.with_operators({first: operator})

    return change


def _bsconv_s(architecture: Architecture) -> Architecture:
    """BSConv section 4.2: the structure stays, the projections become orthonormally regularised bases."""
    return replace(architecture, orthonormal=True)


def _bsconv_u(architecture: Architecture) -> Architecture:
    """BSConv section 4.1: every separable block becomes BSConv-U of the same kernel, without activation or norm behind
    its pointwise convolution, and without residual as MobileNetV1 has none."""
    blocks = tuple(
        Block(
            operator=block.operator.replace("dw_", "bsconv_u_"),
            in_channels=block.in_channels,
            out_channels=block.out_channels,
            stride=block.stride,
            activation=block.activation,
        )
        for block in architecture.blocks
    )
    return replace(architecture, blocks=blocks)


_ORTHONORMAL = "BSConv section 4.2: orthonormal loss on the projections"
_REST = "of MobileNetV3-Small, all other layers depthwise"

#: name -> (macro, change, one line on it)
_BASELINES: dict[str, tuple[str, Change, str]] = {
    "mobilenetv3-small": ("mobilenetv3-small", _plain, "MobileNetV3-Small with depthwise convolutions"),
    "mobilenetv3-small-xsep": ("mobilenetv3-small", _xsep("xsep"), "XSepConv table 1"),
    "mobilenetv3-small-xsep-no2x2": (
        "mobilenetv3-small",
        _xsep("xsep_no2x2"),
        "XSepConv table 2: without the 2x2",
    ),
    "mobilenetv3-small-xsep-b": ("mobilenetv3-small", _xsep("xsep_b"), "XSepConv table 3: 2x2 behind"),
    "mobilenetv3-small-xsep-p": ("mobilenetv3-small", _xsep("xsep_p"), "XSepConv table 3: 2x2 in parallel"),
    "mobilenetv3-small-xsep-sp": ("mobilenetv3-small", _xsep("xsep_sp"), "XSepConv table 3: Original-Padding"),
    "mobilenetv3-small-k7": (
        "mobilenetv3-small",
        _larger_kernels("dw_k7"),
        f"XSepConv fig. 5: 7x7 for the stride-1 5x5 in the middle stage {_REST}",
    ),
    "mobilenetv3-small-xsep-k7": (
        "mobilenetv3-small",
        _larger_kernels("xsep_k7"),
        f"XSepConv fig. 5: XSepConv k=7 for the stride-1 5x5 in the middle stage {_REST}",
    ),
    "mobilenetv3-small-down7": (
        "mobilenetv3-small",
        _downsampling("dw_k7"),
        f"XSepConv fig. 4: 7x7 for the first stride-2 5x5 {_REST}",
    ),
    "mobilenetv3-small-xsep-down7": (
        "mobilenetv3-small",
        _downsampling("xsep_k7"),
        f"XSepConv fig. 4: down-sampling XSepConv k=7 for the first stride-2 5x5 {_REST}",
    ),
    "mobilenetv3-small-bsconv-s": ("mobilenetv3-small", _bsconv_s, _ORTHONORMAL),
    "mobilenetv3-small-torchvision": (
        "mobilenetv3-small-torchvision",
        _plain,
        "MobileNetV3-Small as torchvision defines it: biases in SE and the hidden layer",
    ),
    "mobilenetv3-large": ("mobilenetv3-large", _plain, "MobileNetV3-Large with depthwise convolutions"),
    "mobilenetv3-large-xsep": ("mobilenetv3-large", _xsep("xsep"), "XSepConv section 4.2's rule on MobileNetV3-Large"),
    "mobilenetv3-large-bsconv-s": ("mobilenetv3-large", _bsconv_s, _ORTHONORMAL),
    "mobilenetv3-large-torchvision": (
        "mobilenetv3-large-torchvision",
        _plain,
        "MobileNetV3-Large as torchvision defines it: biases in SE and the hidden layer",
    ),
    "mobilenetv2": ("mobilenetv2", _plain, "MobileNetV2: inverted residuals with linear bottlenecks"),
    "mobilenetv2-bsconv-s": ("mobilenetv2", _bsconv_s, _ORTHONORMAL),
    "mobilenetv1": ("mobilenetv1", _plain, "MobileNetV1: depthwise separable convolutions"),
    "mobilenetv1-bsconv-u": ("mobilenetv1", _bsconv_u, "BSConv section 4.1: BSConv-U for every separable convolution"),
}


def baselines() -> dict[str, str]:
    """Names of all baselines with one line on each."""
    return {name: summary for name, (_, _, summary) in _BASELINES.items()}


def baseline(
    name: str, *, image_size: int = 32, in_channels: int = 3, classes: int = 10, width: float = 1.0
) -> Architecture:
    """The baseline ``name`` for square inputs of ``image_size`` pixels; InvalidRequest for an unknown name."""
    if name not in _BASELINES:
        raise unknown("baseline", name, _BASELINES, "sepnas list baselines")
    skeleton, change, _ = _BASELINES[name]
    return change(macro(skeleton, image_size=image_size, in_channels=in_channels, classes=classes, width=width))
