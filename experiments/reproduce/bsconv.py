"""Tables of "Rethinking Depthwise Separable Convolutions" (BSConv; Haase & Amthor)."""

from __future__ import annotations

from evaluators.training.presets import recipe
from experiments.reproduce.settings import CIFAR10, CIFAR100, OXFORD_FLOWERS, STANFORD_CARS, STANFORD_DOGS
from experiments.reproduce.table import PaperTable, Row, figures

_CIFAR = recipe("bsconv-cifar")
_FINE = recipe("bsconv-fine-grained")
_FINE_OPEN = (
    "batch size, image size and the size of the crops: 128, 224 pixels, and half of the image at least",
    "its random gamma transform: a jitter of the brightness",
)
_CIFAR_OPEN = ("the batch size: 128",)
_SETTINGS = {
    "cifar10": CIFAR10(_CIFAR, open=_CIFAR_OPEN),
    "cifar100": CIFAR100(_CIFAR, open=_CIFAR_OPEN),
    "stanford-dogs": STANFORD_DOGS(_FINE, open=_FINE_OPEN),
    "stanford-cars": STANFORD_CARS(_FINE, open=_FINE_OPEN),
    "oxford-flowers": OXFORD_FLOWERS(_FINE, open=_FINE_OPEN),
}

# Table 1: name and width -> figures (original, BSConv) on each data set, in the order of the settings.
_MOBILENETS: dict[tuple[str, float], tuple[tuple[float, float], ...]] = {
    ("mobilenetv1", 0.25): ((90.4, 91.6), (67.5, 69.8), (42.8, 49.1), (64.6, 74.0), (59.2, 68.0)),
    ("mobilenetv1", 0.5): ((91.8, 93.3), (70.8, 73.5), (49.3, 55.2), (70.6, 78.8), (63.1, 71.5)),
    ("mobilenetv1", 0.75): ((92.7, 94.3), (72.2, 74.5), (51.4, 57.9), (72.9, 80.0), (63.1, 70.8)),
    ("mobilenetv1", 1.0): ((93.4, 94.3), (73.4, 75.7), (51.6, 59.1), (74.4, 79.9), (60.2, 67.3)),
    ("mobilenetv2", 0.25): ((89.6, 90.1), (65.6, 68.9), (42.0, 46.8), (65.2, 69.9), (44.9, 51.9)),
    ("mobilenetv2", 0.5): ((92.0, 93.2), (72.5, 73.2), (50.8, 54.8), (70.4, 78.0), (57.6, 60.6)),
    ("mobilenetv2", 0.75): ((93.1, 93.9), (73.2, 75.0), (53.5, 59.0), (73.4, 82.0), (55.7, 71.5)),
    ("mobilenetv2", 1.0): ((93.6, 94.2), (74.9, 75.8), (56.0, 60.1), (76.7, 83.8), (61.3, 67.0)),
    ("mobilenetv3-small", 0.35): ((90.3, 90.6), (66.5, 67.2), (42.8, 44.2), (63.4, 70.4), (56.9, 66.5)),
    ("mobilenetv3-small", 0.5): ((91.5, 91.7), (69.4, 69.6), (45.3, 47.4), (68.1, 74.4), (64.0, 71.7)),
    ("mobilenetv3-small", 0.75): ((92.0, 92.5), (70.4, 72.0), (46.7, 49.5), (72.1, 77.2), (66.3, 74.3)),
    ("mobilenetv3-small", 1.0): ((92.2, 92.7), (72.2, 73.7), (49.4, 52.1), (72.5, 77.0), (68.4, 75.6)),
    ("mobilenetv3-large", 0.35): ((92.8, 93.0), (71.5, 73.7), (48.5, 56.0), (69.5, 77.5), (55.7, 69.4)),
    ("mobilenetv3-large", 0.5): ((93.0, 93.9), (72.9, 75.3), (51.2, 57.9), (73.6, 80.4), (65.7, 66.8)),
    ("mobilenetv3-large", 0.75): ((93.7, 94.4), (73.9, 77.0), (51.8, 60.0), (74.9, 80.9), (63.1, 75.1)),
    ("mobilenetv3-large", 1.0): ((93.7, 94.6), (75.2, 77.7), (54.9, 60.0), (75.7, 82.3), (64.4, 73.8)),
}


def _pairs() -> tuple[Row, ...]:
    """Original and BSConv of each row of table 1."""
    rows = []
    for (network, width), values in _MOBILENETS.items():
        ours = f"{network}-bsconv-{'u' if network == 'mobilenetv1' else 's'}"
        for series, name, column in ((network, network, 0), (f"{network} (BSConv)", ours, 1)):
            published = figures(tuple(_SETTINGS), *(pair[column] for pair in values))
            rows.append(Row(f"{series} x{width:g}", name, published, width, series=series))
    return tuple(rows)


_ON_DOGS = (
    ("VGG-16 (BN)", "vgg-16", "bsconv-u", 60.5, 62.4),
    ("DenseNet-121", "densenet-121", "bsconv-u", 56.9, 59.4),
    ("Xception", "xception", "bsconv-u", 59.6, 64.3),
    ("EfficientNet-B0", "efficientnet-b0", "bsconv-s", 54.7, 61.2),
    ("MnasNet", "mnasnet-b1", "bsconv-s", 54.8, 59.8),
)

TABLES = (
    PaperTable(
        "bsconv-table-1",
        "BSConv table 1",
        "MobileNetV1 with BSConv-U, MobileNetV2 and V3 with BSConv-S, at four widths each",
        _pairs(),
        _SETTINGS,
        claims=tuple((f"{network} (BSConv) x{width:g}", f"{network} x{width:g}") for network, width in _MOBILENETS),
        axis="macs",
        notes=(
            "BSConv-S with p = 1/6 is the network itself with an orthonormal loss on its projections (section 4.2)",
        ),
    ),
    PaperTable(
        "bsconv-table-2",
        "BSConv table 2",
        "ResNets and Wide ResNets beside deeper or wider ones of BSConv-U with as many parameters",
        (
            Row("ResNet-20", "resnet-20", figures(("cifar10", "cifar100"), 92.2, 67.7)),
            Row("ResNet-110 (BSConv-U)", "resnet-110-bsconv-u", figures(("cifar10", "cifar100"), 92.9, 70.8)),
            Row("WideResNet-40-3", "wrn-40-3", figures(("cifar10", "cifar100"), 94.9, 75.5)),
            Row("WideResNet-40-8 (BSConv-U)", "wrn-40-8-bsconv-u", figures(("cifar10", "cifar100"), 95.2, 77.6)),
        ),
        {name: _SETTINGS[name] for name in ("cifar10", "cifar100")},
        claims=(
            ("ResNet-110 (BSConv-U)", "ResNet-20"),
            ("WideResNet-40-8 (BSConv-U)", "WideResNet-40-3"),
        ),
    ),
    PaperTable(
        "bsconv-table-4",
        "BSConv table 4",
        "other networks with BSConv",
        tuple(
            Row(label, name, figures(("stanford-dogs",), value))
            for original, network, operator, before, after in _ON_DOGS
            for label, name, value in (
                (original, network, before),
                (f"{original} (BSConv-{operator[-1].upper()})", f"{network}-{operator}", after),
            )
        ),
        {"stanford-dogs": _SETTINGS["stanford-dogs"]},
        claims=tuple(
            (f"{original} (BSConv-{operator[-1].upper()})", original) for original, _, operator, _, _ in _ON_DOGS
        ),
        notes=("which MnasNet is meant: B1, as the paper's first network without squeeze-and-excitation",),
    ),
)
