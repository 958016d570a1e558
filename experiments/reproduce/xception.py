"""Figures of "Deep Learning with Separable Convolutions" (Xception; Chollet)."""

from __future__ import annotations

from evaluators.training.presets import recipe
from experiments.reproduce.settings import IMAGENET_299
from experiments.reproduce.table import PaperTable, Row

_SETTING = {
    "imagenet": IMAGENET_299(
        recipe("xception-imagenet"),
        trainings=1,
        open=("epochs, batch size, decay of the averaging and augmentation: 100, 256, 0.9999, crops and flips",),
    )
}
_DRAWN = "the figure's curves are drawn and not printed; below 128 pixels the network takes its form for small images"

TABLES = (
    PaperTable(
        "xception-figure-9",
        "Xception figure 9",
        "Xception with and without residual connections, epoch by epoch",
        (Row("residual", "xception", {}), Row("non-residual", "xception-noresidual", {})),
        _SETTING,
        claims=(("residual", "non-residual"),),
        axis="epochs",
        notes=(_DRAWN,),
    ),
    PaperTable(
        "xception-figure-10",
        "Xception figure 10",
        "Xception with nothing, ReLU or ELU between depthwise and pointwise convolution, epoch by epoch",
        (Row("none", "xception", {}), Row("ELU", "xception-elu", {}), Row("ReLU", "xception-relu", {})),
        _SETTING,
        claims=(("none", "ELU"), ("none", "ReLU")),
        axis="epochs",
        notes=(_DRAWN,),
    ),
)
