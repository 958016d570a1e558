"""What a conversion did: layers that were replaced, layers that stay and why, and costs before and after."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Changed:
    """A layer that was replaced.

    Attributes:
        names: it goes by, the first one first.
        was: the convolution, in words.
        params_before, params_after: of the layer.
        error: with weights from the old ones, the distance of the kernels as a share of the old one's norm.
    """

    names: tuple[str, ...]
    was: str
    params_before: int
    params_after: int
    error: float | None = None


@dataclass(frozen=True)
class Skipped:
    """A convolution that stays as it is, and why: words that follow its name."""

    names: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Conversion:
    """What `search_space.convert` did to ``model``, which is the network with the new layers in it.

    Attributes:
        model: the one that was given, changed in place; another one only if it was a convolution itself.
        to: the operators it was converted to.
        init: where the weights of the new layers come from.
        changed, skipped: its convolutions, each in one of the two.
        params_before, params_after: all parameters, trained or not; those that several layers share count once.
        macs_before, macs_after: of one image, by torch's flop counter; None if no input was given.
    """

    model: nn.Module
    to: str
    init: str
    changed: tuple[Changed, ...]
    skipped: tuple[Skipped, ...]
    params_before: int
    params_after: int
    macs_before: int | None = None
    macs_after: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """All but the model, for ``json.dumps``."""
        values = {name: value for name, value in vars(self).items() if name not in ("model", "changed", "skipped")}
        return {
            **values,
            "changed": [asdict(each) for each in self.changed],
            "skipped": [asdict(each) for each in self.skipped],
        }


def in_words(layer: nn.Conv2d) -> str:
    """What a convolution is, as ``64 -> 128, 3x3, stride 2``."""
    height, width = layer.kernel_size
    words = [f"{layer.in_channels} -> {layer.out_channels}", f"{height}x{width}"]
    for name, plain in (("stride", 1), ("dilation", 1)):
        value = getattr(layer, name)
        if value != (plain, plain):
            words.append(f"{name} {value[0] if value[0] == value[1] else value}")
    if layer.groups > 1:
        words.append("depthwise" if layer.groups == layer.in_channels else f"{layer.groups} groups")
    return ", ".join(words)
