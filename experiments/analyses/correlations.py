"""``sepnas analyse correlations``: how far the slices of each filter are multiples of one blueprint.

BSConv section 3.1 and figure 3: of each filter of M x K x K weights, the M slices of K x K are samples, and the share
of their variance that the first principal component explains says how well one K x K blueprint with M factors stands
for the filter. What numbers drawn at random reach in a filter of the same size stands beside it.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.figures import figure
from experiments.tables import table
from experiments.training.trained import find_trained
from search_space.base.calls import is_call
from search_space.base.checks import plain, refusal, require
from search_space.own_model import make_module
from search_space.weights import read_weights

NAME = "correlations"
#: keys under which checkpoints of trainings keep the weights
_NESTED = ("state_dict", "model_state_dict", "model")
#: what a callable gets of these; only the shapes of its convolutions matter
_SIZES = {"image_size": 32, "in_channels": 3, "classes": 10}
#: filters drawn at random for the comparison
_DRAWN = 200
BINS = 20


@dataclass(frozen=True)
class Correlated:
    """The filters of one layer.

    Attributes:
        name: of the weight.
        stage: that it belongs to.
        shape: filters, channels of each, height and width.
        shares: explained by the first principal component, one for each filter whose slices differ.
        random: the mean share of filters of random numbers.
    """

    name: str
    stage: str
    shape: tuple[int, ...]
    shares: np.ndarray
    random: float

    def as_row(self) -> dict[str, Any]:
        """A row of the table."""
        low, middle, high = np.quantile(self.shares, (0.1, 0.5, 0.9)).tolist()
        filters, channels, height, width = self.shape
        row = {"layer": self.name, "stage": self.stage, "filters": filters, "channels": channels}
        row |= {"kernel": f"{height}x{width}", "mean": float(self.shares.mean())}
        return row | {"median": middle, "q10": low, "q90": high, "random": self.random}


def read_tensors(subject: str) -> dict[str, Tensor]:
    """The weights that ``subject`` names: a safetensors file, a file of ``torch.save`` with a state dict (read with
    ``weights_only``), the folder of a run, a training or a bundle, or ``module:callable``, the network's own.

    InvalidRequest if there are none.
    """
    path = Path(subject)
    if path.is_dir():
        return read_weights(find_trained(path).weights)
    if not path.exists() and is_call(subject):
        with torch.random.fork_rng(devices=[]):  # weights that the callable draws are the same every time
            torch.manual_seed(0)
            return make_module(subject, _SIZES, "subject").state_dict()
    if not path.is_file():
        raise refusal("subject", subject, "is neither a file nor a folder, nor of the form module:callable")
    if path.suffix == ".safetensors":
        return read_weights(path)
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        why = f"cannot be read as plain weights ({plain(' '.join(str(error).split()), 60)})"
        raise refusal("subject", subject, why, "give a safetensors file, or a state dict saved by torch") from None
    for key in _NESTED:
        if isinstance(held, Mapping) and isinstance(held.get(key), Mapping):
            held = held[key]
    tensors = held.items() if isinstance(held, Mapping) else ()
    return {str(name): tensor for name, tensor in tensors if isinstance(tensor, Tensor)}


def correlations(tensors: Mapping[str, Tensor], subject: str, stage: str | None = None) -> list[Correlated]:
    """The layers among ``tensors`` whose filters have several slices of several weights, in order.

    A stage is a row of layers with equally many filters; or, if the regular expression ``stage`` is given, the layers
    in whose names it matches the same text (that of its first group, if it has one), and the others are left out.
    InvalidRequest if no layer is left.
    """
    kernels = {
        name: tensor.detach().double()
        for name, tensor in tensors.items()
        if tensor.ndim == 4 and tensor.is_floating_point() and tensor.shape[1] > 1 and tensor[0, 0].numel() > 1
    }
    require(bool(kernels), "subject", subject, "has no dense or grouped convolutions larger than 1x1")
    stages = _by_width(kernels) if stage is None else _by_name(list(kernels), stage)
    found = []
    for name, label in stages.items():
        shares = explained(kernels[name])
        if len(shares):
            shape = tuple(kernels[name].shape)
            found.append(Correlated(name, label, shape, shares.numpy(), _random(*shape[1:])))
    require(bool(found), "subject", subject, "has only filters whose slices are all alike")
    return found


def explained(kernels: Tensor) -> Tensor:
    """The share of variance along the depth axis that the first principal component explains, for each filter of
    ``kernels`` (filters, channels, height, width) in which there is any; shape (filters that have some,)."""
    slices = kernels.flatten(2)
    variances = torch.linalg.svdvals(slices - slices.mean(1, keepdim=True)).square()
    total = variances.sum(1)
    varied = total > 1e-20 * slices.square().sum((1, 2)).clamp_min(1e-300)
    return variances[varied, 0] / total[varied]


@cache
def _random(channels: int, height: int, width: int) -> float:
    drawn = torch.randn(_DRAWN, channels, height, width, generator=torch.Generator().manual_seed(0))
    return float(explained(drawn.double()).mean())


def _by_width(kernels: Mapping[str, Tensor]) -> dict[str, str]:
    widths = [len(kernel) for kernel in kernels.values()]
    number, labels = 1, [f"1: {widths[0]} filters"]
    for before, width in pairwise(widths):
        number += before != width
        labels.append(f"{number}: {width} filters")
    return dict(zip(kernels, labels, strict=True))


def _by_name(names: Sequence[str], stage: str) -> dict[str, str]:
    try:
        pattern = re.compile(stage)
    except re.error as error:
        raise refusal("--stage", stage, f"is not a regular expression ({error})") from None
    matches = {name: match for name in names if (match := pattern.search(name))}
    if not matches:
        raise refusal("--stage", stage, "matches no layer", f"one is called {names[0]}")
    return {name: match[1] if pattern.groups else match[0] for name, match in matches.items()}


def by_stage(found: Sequence[Correlated]) -> dict[str, dict[str, Any]]:
    """Of all filters of each stage and of the whole: their number, mean and median share, histogram, and the mean share
    of random numbers."""
    groups: dict[str, list[Correlated]] = {}
    for layer in found:
        groups.setdefault(layer.stage, []).append(layer)
    if len(groups) > 1:
        groups["all"] = list(found)
    edges = np.linspace(0, 1, BINS + 1)
    return {
        stage: {
            "filters": len(shares := np.concatenate([layer.shares for layer in layers])),
            "mean": float(shares.mean()),
            "median": float(np.median(shares)),
            "random": float(np.average([one.random for one in layers], weights=[len(one.shares) for one in layers])),
            "histogram": np.histogram(shares, edges)[0].tolist(),
        }
        for stage, layers in groups.items()
    }


def as_json(subject: str, found: Sequence[Correlated]) -> dict[str, Any]:
    """All figures."""
    return {"subject": subject, "bins": BINS, "stages": by_stage(found), "layers": [one.as_row() for one in found]}


def as_text(subject: str, found: Sequence[Correlated]) -> str:
    """A row for each stage."""
    rows = [
        [stage, own["filters"], *(f"{own[what]:.1%}" for what in ("mean", "median", "random"))]
        for stage, own in by_stage(found).items()
    ]
    header = ("stage", "filters", "explained by one blueprint, mean", "median", "of random numbers, mean")
    return f"{subject}: {len(found)} layers\n{table(rows, header, right=(1, 2, 3, 4))}"


def draw(subject: str, found: Sequence[Correlated], path: Path) -> None:
    """The histogram of each stage, as shares of its filters; dotted: the mean of random numbers."""
    stages = {stage: own for stage, own in by_stage(found).items() if stage != "all"}
    edges = np.linspace(0, 1, BINS + 1)
    with figure(path, 7.5, 4.2) as drawing:
        axes = drawing.subplots()
        for index, (stage, own) in enumerate(stages.items()):
            shares = np.array(own["histogram"]) / own["filters"]
            label = f"{stage}, mean {own['mean']:.0%}"
            axes.stairs(shares, edges, color=f"C{index % 10}", label=label, linewidth=1.6, fill=False)
            axes.axvline(own["random"], color=f"C{index % 10}", linewidth=0.9, linestyle=":")
        axes.set(
            xlim=(0, 1), xlabel="share of a filter's variance that one blueprint explains (dotted: random numbers)"
        )
        axes.set_ylabel("share of the stage's filters")
        axes.set_title(subject if len(subject) <= 60 else f"...{subject[-57:]}", fontsize=10)
        axes.legend(frameon=False, fontsize=8, ncols=1 + len(stages) // 9)
