"""Tables of "Convolution with even-sized kernels and symmetric padding" (Wu et al.). Errors stand as accuracies."""

from __future__ import annotations

from evaluators.training.presets import recipe
from experiments.reproduce.settings import CIFAR10, CIFAR100
from experiments.reproduce.table import PaperTable, Published, Row

_OPEN = ("momentum: 0.9",)
_STANDARD = recipe("even-kernel-cifar", mixup=0.0)
_KERNELS = {"C3": "", "C4": "-c4", "C2": "-c2", "C4sp": "-c4sp", "C2sp": "-c2sp"}
_RESNETS = tuple(6 * n + 2 for n in range(3, 25, 3))
_DENSENETS = tuple(6 * n + 4 for n in range(3, 19, 3))
_DRAWN = "the figure's points are drawn and not printed"

# Table 1: depth and block -> (error, standard deviation) with standard augmentation and with mixup.
_ERRORS: dict[tuple[int, str], tuple[tuple[float, float], tuple[float, float]]] = {
    (20, "C2sp"): ((26.77, 0.19), (24.90, 0.17)),
    (20, "Sep"): ((26.70, 0.20), (23.81, 0.15)),
    (20, "Shift"): ((26.87, 0.19), (24.74, 0.04)),
    (20, "Invert"): ((26.86, 0.11), (25.32, 0.12)),
    (56, "C2sp"): ((23.19, 0.29), (20.91, 0.22)),
    (56, "Sep"): ((23.31, 0.09), (20.69, 0.11)),
    (56, "Shift"): ((24.07, 0.24), (21.31, 0.21)),
    (56, "Invert"): ((22.36, 0.25), (21.48, 0.25)),
    (110, "C2sp"): ((21.93, 0.04), (19.52, 0.10)),
    (110, "Sep"): ((22.31, 0.22), (19.42, 0.05)),
    (110, "Shift"): ((22.94, 0.26), (20.47, 0.18)),
    (110, "Invert"): ((21.76, 0.17), (20.43, 0.20)),
}
#: block of table 1 -> (operator of our ResNets, their width)
_OURS = {"Sep": ("-sep", 3.75), "C2sp": ("-c2sp", 2.0)}


def _table_1() -> tuple[Row, ...]:
    rows = []
    for (depth, block), errors in _ERRORS.items():
        settings = ("cifar100", "cifar100-mixup")
        published = {
            name: Published(round(100 - error, 2), std) for name, (error, std) in zip(settings, errors, strict=True)
        }
        operator, width = _OURS.get(block, ("", 1.0))
        network = f"resnet-{depth}{operator}" if operator else None
        rows.append(Row(f"{depth} {block}", network, published, width, series=block))
    return tuple(rows)


TABLES = (
    PaperTable(
        "even-kernel-figure-4",
        "Even-sized kernels figure 4, left",
        "ResNets of eight depths with 3x3 kernels and with even-sized ones, symmetric padding or not",
        tuple(
            Row(f"ResNet-{depth} {kernel}", f"resnet-{depth}{operator}", {}, series=kernel)
            for depth in _RESNETS
            for kernel, operator in _KERNELS.items()
        ),
        {"cifar10": CIFAR10(_STANDARD, trainings=5, open=_OPEN)},
        claims=tuple(
            (f"ResNet-{depth} {better}", f"ResNet-{depth} {worse}")
            for depth in _RESNETS
            for better, worse in (("C3", "C2"), ("C3", "C4"), ("C2sp", "C2"), ("C4sp", "C4"))
        ),
        axis="params",
        notes=(_DRAWN,),
    ),
    PaperTable(
        "even-kernel-figure-4-densenet",
        "Even-sized kernels figure 4, middle",
        "DenseNets of six depths with 3x3 kernels and with C2sp",
        tuple(
            Row(f"DenseNet-{depth} {kernel}", f"densenet-{depth}{operator}", {}, series=kernel)
            for depth in _DENSENETS
            for kernel, operator in (("C3", ""), ("C2sp", "-c2sp"))
        ),
        {
            "cifar100": CIFAR100(
                recipe("even-kernel-densenet"), trainings=5, open=(*_OPEN, "milestones: a half and three quarters")
            )
        },
        axis="params",
        notes=(_DRAWN, "the growth rate: 12, as of Huang et al."),
    ),
    PaperTable(
        "even-kernel-table-1",
        "Even-sized kernels table 1",
        "efficient blocks in ResNets of equal cost",
        _table_1(),
        {
            "cifar100": CIFAR100(_STANDARD, trainings=5, open=_OPEN),
            "cifar100-mixup": CIFAR100(recipe("even-kernel-cifar"), trainings=5, open=_OPEN),
        },
        axis="params",
        notes=(
            "the width: C2sp twice and Sep 3.75 times that of He et al., which meet all printed costs",
            "ShiftNet's and the inverted-bottleneck blocks in ResNets are quoted alone",
        ),
    ),
)
