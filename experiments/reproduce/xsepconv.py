"""Tables and figures of "XSepConv: Extremely Separated Convolution" (Chen et al.)."""

from __future__ import annotations

from collections.abc import Mapping

from evaluators.training.presets import recipe
from experiments.reproduce.settings import CIFAR10, CIFAR100, SVHN, TINY_IMAGENET
from experiments.reproduce.table import PaperTable, Published, Row, figures

_SETTINGS = {
    "cifar10": CIFAR10(recipe("xsepconv-cifar"), trainings=5),
    "cifar100": CIFAR100(recipe("xsepconv-cifar"), trainings=5),
    "svhn": SVHN(recipe("xsepconv-svhn"), trainings=5),
    "tiny-imagenet": TINY_IMAGENET(
        recipe("xsepconv-tiny-imagenet"),
        trainings=5,
        open=("whether the paper's figures are of the validation or of the test images",),
    ),
}
_SMALL = "mobilenetv3-small"
#: what tables 1 to 3 print, on the four data sets
_DW = figures(tuple(_SETTINGS), 92.97, 73.69, 97.92, 59.32)
_XSEP = figures(tuple(_SETTINGS), 93.24, 74.02, 97.97, 59.82)
_NO2X2 = figures(tuple(_SETTINGS), 92.99, 73.89, 97.92, 59.62)
_B = figures(tuple(_SETTINGS), 93.03, 73.53, 97.94, 59.62)
_P = figures(tuple(_SETTINGS), 93.06, 73.14, 97.91, 59.65)
_SP = figures(tuple(_SETTINGS), 93.05, 73.81, 97.94, 58.58)
#: width multipliers of the curves (caption of figure 3)
_WIDTHS = (0.5, 0.75, 1.0, 1.25)
_CURVES = "the figure's points are drawn and not printed: beside ours stand only those at width 1 that tables print"


def _curve(label: str, network: str, at_one: Mapping[str, Published] | None = None) -> tuple[Row, ...]:
    """A network at the widths of the paper's curves; ``at_one`` is published at width 1."""
    return tuple(
        Row(f"{label} x{width:g}", network, (at_one or {}) if width == 1 else {}, width, series=label)
        for width in _WIDTHS
    )


def _above(better: str, worse: str) -> tuple[tuple[str, str], ...]:
    """That one curve lies above the other at each width."""
    return tuple((f"{better} x{width:g}", f"{worse} x{width:g}") for width in _WIDTHS)


def _figure(number: int, summary: str, better: str, rows: tuple[Row, ...], settings: tuple[str, ...]) -> PaperTable:
    others = [name for name in dict.fromkeys(row.series for row in rows) if name != better]
    return PaperTable(
        f"xsepconv-figure-{number}",
        f"XSepConv figure {number}",
        summary,
        rows,
        {name: _SETTINGS[name] for name in settings},
        claims=tuple(pair for other in others for pair in _above(better, other)),
        axis="macs",
        notes=(_CURVES,),
    )


TABLES = (
    PaperTable(
        "xsepconv-table-1",
        "XSepConv table 1",
        "MobileNetV3-Small with depthwise convolutions and with XSepConv",
        (Row("DWConv", _SMALL, _DW), Row("XSepConv", f"{_SMALL}-xsep", _XSEP)),
        _SETTINGS,
        claims=(("XSepConv", "DWConv"),),
    ),
    PaperTable(
        "xsepconv-table-2",
        "XSepConv table 2",
        "XSepConv with and without its 2x2 convolution",
        (Row("with 2x2", f"{_SMALL}-xsep", _XSEP), Row("without 2x2", f"{_SMALL}-xsep-no2x2", _NO2X2)),
        _SETTINGS,
        claims=(("with 2x2", "without 2x2"),),
    ),
    PaperTable(
        "xsepconv-table-3",
        "XSepConv table 3",
        "the 2x2 in front, behind and in parallel, and the original symmetric padding",
        (
            Row("XSepConv", f"{_SMALL}-xsep", _XSEP),
            Row("XSepConv-B", f"{_SMALL}-xsep-b", _B),
            Row("XSepConv-P", f"{_SMALL}-xsep-p", _P),
            Row("Original-Padding", f"{_SMALL}-xsep-sp", _SP),
        ),
        _SETTINGS,
        claims=tuple(("XSepConv", other) for other in ("XSepConv-B", "XSepConv-P", "Original-Padding")),
    ),
    _figure(
        3,
        "depthwise and XSepConv at four widths",
        "XSepConv",
        (*_curve("DWConv", _SMALL, _DW), *_curve("XSepConv", f"{_SMALL}-xsep", _XSEP)),
        tuple(_SETTINGS),
    ),
    _figure(
        4,
        "the first 5x5 of stride 2 as a 7x7 and as a down-sampling XSepConv",
        "XSepConv",
        (*_curve("DWConv", f"{_SMALL}-down7"), *_curve("XSepConv", f"{_SMALL}-xsep-down7")),
        ("tiny-imagenet",),
    ),
    _figure(
        5,
        "7x7 depthwise and XSepConv of k = 7 in the middle stage",
        "XSepConv",
        (*_curve("DWConv", f"{_SMALL}-k7"), *_curve("XSepConv", f"{_SMALL}-xsep-k7")),
        ("tiny-imagenet",),
    ),
    _figure(
        7,
        "XSepConv and its variants of figure 6 at four widths",
        "XSepConv",
        (
            *_curve("XSepConv", f"{_SMALL}-xsep", {"tiny-imagenet": _XSEP["tiny-imagenet"]}),
            *_curve("without 2x2", f"{_SMALL}-xsep-no2x2", {"tiny-imagenet": _NO2X2["tiny-imagenet"]}),
            *_curve("XSepConv-B", f"{_SMALL}-xsep-b", {"tiny-imagenet": _B["tiny-imagenet"]}),
            *_curve("XSepConv-P", f"{_SMALL}-xsep-p", {"tiny-imagenet": _P["tiny-imagenet"]}),
        ),
        ("tiny-imagenet",),
    ),
)
