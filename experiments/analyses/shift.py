"""``sepnas analyse shift``: how even-sized kernels shift feature maps, and how zeros at the edges erase them.

What Wu et al. show in figure 3: the layers of an untrained ResNet-56 without identity connections and batch norms, with
kernels of several sizes, padded on one side more (C2, C4; section 3.1) or symmetrically (C2sp, C4sp; section 3.2). Of
each layer's map behind its ReLU:

- Q, the mean of absolute values (eq. 7), and the share of it that zeros at the edges leave: Q by that of the same
  weights on the same images with maps that wrap around, where nothing is lost. Random weights let Q itself grow and
  shrink by factors from seed to seed; the share shows what the edges do.
- the centre of mass of absolute values, relative to the map's middle and as a share of its side;
- the offset that the kernels' places add up to (eq. 6), in pixels of the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evaluators.data.load import load_data
from evaluators.data.loaders import make_loader
from evaluators.measuring.statistics import Summary, paired_difference, summarise
from experiments.analyses.impulse import Reach, linear, reach
from experiments.figures import figure
from experiments.tables import table
from search_space.families.resnet import CHANNELS, blocks_per_stage
from search_space.layered.forms import form
from search_space.layered.layer import Map
from search_space.layers import EvenPad
from search_space.padding import FOUR_GROUPS, Direction

NAME = "shift"
#: pixels of the paper's images
IMAGE_SIDE = 32
#: the paper's names of kernels -> forms (`search_space.layered.forms`)
KERNELS = {"C2": "c2", "C3": "k3", "C4": "c4", "C2sp": "c2sp", "C4sp": "c4sp"}
#: what the paper's figure 3 shows of Q in the last layer: the first above the second
ORDER = (("C2sp", "C3"), ("C3", "C2"), ("C4sp", "C4"))


@dataclass(frozen=True)
class Trace:
    """One network's maps, layer by layer.

    Attributes:
        q: mean absolute value.
        share: of it, what the edges leave.
        centre: (down, right) of the centre of mass, as shares of the map's side.
    """

    q: list[float]
    share: list[float]
    centre: list[tuple[float, float]]


@dataclass(frozen=True)
class Shifts:
    """Traces of all kernels and seeds.

    Attributes:
        depth: of the ResNet whose layers these are.
        data: name of the images.
        images: how many of them.
        traces: {kernel: {seed: trace}}.
        offsets: {kernel: accumulated (down, right) for each layer, pixels of the image}.
        sides: of each layer's map.
    """

    depth: int
    data: str
    images: int
    traces: Mapping[str, Mapping[int, Trace]]
    offsets: Mapping[str, list[tuple[float, float]]]
    sides: list[int]

    @property
    def seeds(self) -> int:
        """How many there are of each kernel."""
        return len(next(iter(self.traces.values())))

    def summary(self, kernel: str, what: str, layer: int) -> Summary:
        """Over seeds, of log10 of ``what`` ("q" or "share") in a layer."""
        return summarise([math.log10(getattr(trace, what)[layer]) for trace in self.traces[kernel].values()])

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row for each kernel and layer: geometric means over seeds with 95 % intervals."""
        for kernel, by_seed in self.traces.items():
            for layer, side in enumerate(self.sides):
                row: dict[str, Any] = {"kernel": kernel, "layer": layer, "map": side}
                for what in ("q", "share"):
                    own = self.summary(kernel, what, layer)
                    low, high = own.interval or (own.mean, own.mean)
                    row |= {what: 10**own.mean, f"{what}_low": 10**low, f"{what}_high": 10**high}
                centres = [trace.centre[layer] for trace in by_seed.values()]
                for axis, way in enumerate(("down", "right")):
                    row[f"centre_{way}"] = sum(centre[axis] for centre in centres) / len(centres)
                    row[f"offset_{way}"] = self.offsets[kernel][layer][axis]
                yield row

    def orders(self) -> list[dict[str, Any]]:
        """Of each pair of `ORDER` that was measured, the ratio in the last layer with its 95 % interval, and p."""
        found: list[dict[str, Any]] = []
        for above, below in ORDER:
            if above not in self.traces or below not in self.traces:
                continue
            for what in ("q", "share"):
                one, other = (
                    {seed: math.log10(getattr(trace, what)[-1]) for seed, trace in self.traces[kernel].items()}
                    for kernel in (above, below)
                )
                difference = paired_difference(one, other)
                mean, interval = difference.summary.mean, difference.summary.interval
                low, high = (None, None) if interval is None else (10 ** interval[0], 10 ** interval[1])
                row = {"above": above, "below": below, "of": what, "ratio": 10**mean, "low": low, "high": high}
                found.append({**row, "p": difference.p})
        return found


def measure(images: Tensor, data: str, kernels: Sequence[str], seeds: Sequence[int], depth: int = 56) -> Shifts:
    """Run untrained networks of each of ``kernels`` (`KERNELS`) and each seed on ``images`` (n, channels, side, side).

    InvalidRequest unless ``depth`` is 6n + 2.
    """
    traces: dict[str, dict[int, Trace]] = {kernel: {} for kernel in kernels}
    offsets: dict[str, list[tuple[float, float]]] = {}
    sides: list[int] = []
    for kernel in kernels:
        layers: list[tuple[nn.Module, int]] = []
        for seed in seeds:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                layers = list(_layers(kernel, depth, images.shape[1]))
            traces[kernel][seed], sides = _trace([layer for layer, _ in layers], images)
        total, offsets[kernel] = Reach(), []
        for layer, channels in layers:
            total = total.then(reach(linear(layer), channels))
            offsets[kernel].append(total.offset)
    return Shifts(depth, data, len(images), traces, offsets, sides)


def load_images(data: str, count: int) -> Tensor:
    """The first ``count`` validation images of ``data`` at 32x32 pixels, normalised: (count, channels, 32, 32)."""
    held = load_data(data, image_size=IMAGE_SIDE)
    images, _ = next(iter(make_loader(held.validation, held, count, shuffle=False)))
    return Tensor(images)


def _layers(kernel: str, depth: int, channels: int) -> Iterator[tuple[nn.Module, int]]:
    """The convolutions of a ResNet with ``kernel``, drawn as MSRA has it, each with the number of its input channels;
    the first one is 3x3 in all of them."""
    repeats = 2 * blocks_per_stage(f"resnet-{depth}", depth, 2)
    given, kinds = channels, [("k3", CHANNELS[0], 1)]
    for stage, out in enumerate(CHANNELS):
        kinds += [(KERNELS[kernel], out, 2 if stage and not index else 1) for index in range(repeats)]
    for name, out, stride in kinds:
        layer = form(name).module(Map(given, 1, 1), out, stride, bias=False)
        for part in layer.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
        yield layer, given
        given = out


@torch.inference_mode()
def _trace(layers: Sequence[nn.Module], images: Tensor) -> tuple[Trace, list[int]]:
    """What becomes of ``images`` in the layers, and the side of each map."""
    trace, sides = Trace([], [], []), []
    made = endless = images
    for layer in layers:
        made, endless = F.relu(layer(made)), F.relu(_wrapped(layer, endless))
        q = float(made.mean())  # behind a ReLU nothing is negative
        trace.q.append(q)
        trace.share.append(q / float(endless.mean()))
        side = made.shape[-1]
        mass = made.double().mean((0, 1)) / q
        places = (torch.arange(side) - (side - 1) / 2) / side
        trace.centre.append(
            (float(mass.mean(1) @ places.double() / side), float(mass.mean(0) @ places.double() / side))
        )
        sides.append(side)
    return trace, sides


def _wrapped(layer: nn.Module, maps: Tensor) -> Tensor:
    """``layer`` on maps whose edges meet: the pixels of the other side in place of zeros."""
    if isinstance(layer, nn.Conv2d):
        around = F.pad(maps, (int(layer.padding[0]),) * 4, mode="circular")
        return F.conv2d(around, layer.weight, stride=layer.stride)
    pad, conv = layer.get_submodule("pad"), layer.get_submodule("conv")
    assert isinstance(pad, EvenPad)
    groups = zip(maps.split(pad.groups, dim=1), FOUR_GROUPS, strict=True)
    if pad.direction is not Direction.FOUR_GROUP:
        groups = zip((maps,), (pad.direction,), strict=True)
    filled = [(group, direction.zeros(pad.kernel)) for group, direction in groups if group.shape[1]]
    return conv(torch.cat([F.pad(group, zeros, mode="circular") for group, zeros in filled], dim=1))


def as_json(found: Shifts) -> dict[str, Any]:
    """All figures: those of each layer, and the order of Q."""
    facts = {"depth": found.depth, "data": found.data, "images": found.images, "seeds": found.seeds}
    return {**facts, "order_in_the_last_layer": found.orders(), "layers": list(found.rows())}


def as_text(found: Shifts) -> str:
    """The layers in front of each down-sampling and the last one, and the order of Q."""
    last = len(found.sides) - 1
    shown = [layer for layer in range(last) if found.sides[layer] != found.sides[layer + 1]] + [last]
    rows = [
        (
            *(row["kernel"], row["layer"], row["map"], f"{row['q']:.3g}", f"{row['share']:.3g}"),
            f"{row['share_low']:.3g} to {row['share_high']:.3g}",
            f"{row['centre_down']:+.1%}, {row['centre_right']:+.1%}",
            f"{row['offset_down']:+g}, {row['offset_right']:+g}",
        )
        for row in found.rows()
        if row["layer"] in shown
    ]
    shares = ("share left by edges", "95 % interval")
    header = ("kernel", "layer", "map", "Q", *shares, "centre of mass", "offset, px of image")
    lines = [
        f"untrained ResNet-{found.depth} without identity and norms, {found.images} images of {found.data}, "
        f"n = {found.seeds} seeds (geometric means)",
        table(rows, header, right=(1, 2, 3, 4)),
        "",
    ]
    for row in found.orders():
        what, interval = "Q" if row["of"] == "q" else "share of Q left by the edges", ""
        if row["low"] is not None:
            interval = f" (95 % interval {row['low']:.3g} to {row['high']:.3g}, p = {row['p']:.2g})"
        lines.append(f"last layer, {what}: {row['above']} has {row['ratio']:.3g} x that of {row['below']}{interval}")
    return "\n".join(lines)


def draw(found: Shifts, path: Path) -> None:
    """Q, the share that the edges leave, and the centre of mass, layer by layer."""
    rows = list(found.rows())
    with figure(path, 12, 4.2) as drawing:
        for axes, what, title in zip(
            drawing.subplots(1, 3),
            ("q", "share", "centre_down"),
            (
                "Q: mean absolute value (geometric mean)",
                "share of Q that the edges leave",
                "centre of mass, vertically",
            ),
            strict=True,
        ):
            for index, kernel in enumerate(found.traces):
                own = [row for row in rows if row["kernel"] == kernel]
                values = [row[what] for row in own]
                axes.plot(values, color=f"C{index}", label=kernel, linewidth=1.5)
                if f"{what}_low" in own[0]:
                    low, high = ([row[f"{what}_{end}"] for row in own] for end in ("low", "high"))
                    axes.fill_between(range(len(own)), low, high, color=f"C{index}", alpha=0.15, linewidth=0)
            for layer in range(1, len(found.sides)):
                if found.sides[layer] != found.sides[layer - 1]:
                    axes.axvline(layer - 0.5, color="0.7", linewidth=0.8, linestyle="--")
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("layer (dashed: down-sampling)")
            if what != "centre_down":
                axes.set_yscale("log")
            else:
                axes.set_ylabel("share of the map's side, below the middle")
        axes.legend(frameon=False)
