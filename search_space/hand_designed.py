"""Hand-designed networks to compare with. They are architectures like any other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from search_space.architecture import Architecture
from search_space.errors import InvalidRequest
from search_space.macros import macro

Change = Callable[[Architecture], Architecture]


def _xsep(variant: str) -> Change:
    """XSepConv section 4.2: the stride-1 5x5 become k = 5 in the middle stage and k = 3 after the last down-sampling;
    down-sampling layers keep their depthwise convolution."""

    def change(architecture: Architecture) -> Architecture:
        last_downsampling = max(i for i, block in enumerate(architecture.blocks) if block.stride == 2)
        return architecture.with_operators(
            {
                index: f"{variant}_k{3 if index > last_downsampling else 5}"
                for index, block in enumerate(architecture.blocks)
                if block.operator == "dw_k5" and block.stride == 1
            }
        )

    return change


def _bsconv_s(architecture: Architecture) -> Architecture:
    """BSConv section 4.2: the structure stays, the projections become orthonormally regularised bases."""
    return replace(architecture, orthonormal=True)


#: name -> (macro, change, one line on it)
_BASELINES: dict[str, tuple[str, Change, str]] = {
    "mobilenetv3-small": ("mobilenetv3-small", lambda a: a, "MobileNetV3-Small with depthwise convolutions"),
    "mobilenetv3-small-xsep": ("mobilenetv3-small", _xsep("xsep"), "XSepConv table 1"),
    "mobilenetv3-small-xsep-no2x2": (
        "mobilenetv3-small",
        _xsep("xsep_no2x2"),
        "XSepConv table 2: without the 2x2",
    ),
    "mobilenetv3-small-xsep-b": ("mobilenetv3-small", _xsep("xsep_b"), "XSepConv table 3: 2x2 behind"),
    "mobilenetv3-small-xsep-p": ("mobilenetv3-small", _xsep("xsep_p"), "XSepConv table 3: 2x2 in parallel"),
    "mobilenetv3-small-xsep-sp": ("mobilenetv3-small", _xsep("xsep_sp"), "XSepConv table 3: Original-Padding"),
    "mobilenetv3-small-bsconv-s": (
        "mobilenetv3-small",
        _bsconv_s,
        "BSConv section 4.2: orthonormal loss on the projections",
    ),
}


def baselines() -> dict[str, str]:
    """Names of all baselines with one line on each."""
    return {name: summary for name, (_, _, summary) in _BASELINES.items()}


def baseline(
    name: str, *, image_size: int = 32, in_channels: int = 3, classes: int = 10, width: float = 1.0
) -> Architecture:
    """The baseline ``name`` for square inputs of ``image_size`` pixels; InvalidRequest for an unknown name."""
    if name not in _BASELINES:
        raise InvalidRequest(f"baseline: {name!r} is unknown; known are {', '.join(_BASELINES)}")
    skeleton, change, _ = _BASELINES[name]
    return change(macro(skeleton, image_size=image_size, in_channels=in_channels, classes=classes, width=width))
