"""``sepnas analyse receptive-field``: what each block of a network sees of the image, and how far it is shifted.

The shift adds up where even-sized kernels pad one side more (Wu et al., section 3.1); XSepConv's padding strategy makes
it cancel over the network (section 3.2). What the blocks see by themselves, added up, is held against the impulse
response of all layers together, behind the last block of each map size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from matplotlib.patches import Rectangle
from torch import nn

from experiments.analyses.impulse import Reach, chain_reaches, linear, reach
from experiments.analyses.narrow import narrowed
from experiments.figures import figure
from experiments.tables import table
from search_space.architecture import Architecture
from search_space.layered_network import PlainNetwork
from search_space.network import Network

NAME = "receptive_field"
#: channels of the narrow network that is probed, which sees what the wide one sees
_NARROW, _EXPANDED = 16, 32


@dataclass(frozen=True)
class Seen:
    """What a part of a network sees.

    Attributes:
        part: stem, or number and operator of a block.
        own: what it sees of its input.
        total: what it sees of the image, as the parts in front and its own add up: a bound, as channels that are padded
            on different sides and never mixed see less together (a DenseNet with c2sp).
        measured: the same by the impulse response of all layers together; None where that was not measured.
    """

    part: str
    own: Reach
    total: Reach
    measured: Reach | None

    def as_row(self) -> dict[str, Any]:
        """A row of the table: sizes and offsets (vertical, horizontal) in pixels of the image and of the map."""
        (height, width), (down, right) = self.total.size, self.total.offset
        row = {"part": self.part, "own_field": "x".join(map(str, self.own.size)), "stride": self.total.stride}
        row |= {"height": height, "width": width, "offset_down": down, "offset_right": right}
        row |= {"offset_down_of_map": down / self.total.stride, "offset_right_of_map": right / self.total.stride}
        return row | {"impulse_response": "" if self.measured is None else _words(self.measured)}

    @property
    def of_image(self) -> Reach:
        """What it sees of the image: as measured, or else as added up."""
        return self.total if self.measured is None else self.measured


def receptive_fields(network: PlainNetwork) -> list[Seen]:
    """What each part of ``network`` sees, in the order of the layers; what sees one pixel alone is left out.

    Residual sums are kept: they add nothing to what is seen.
    """
    parts = _parts(network)
    own = [reach(module, channels) for _, module, channels in parts]
    totals, total = [], Reach()
    for each in own:
        total = total.then(each)
        totals.append(total)
    last = {each.stride: index for index, each in enumerate(totals)}
    image = torch.zeros(1, parts[0][2], *[_side(totals)] * 2, dtype=torch.float64, requires_grad=True)
    measured = chain_reaches([module for _, module, _ in parts], image, last.values())
    return [
        Seen(name, each, total, measured.get(index))
        for index, ((name, _, _), each, total) in enumerate(zip(parts, own, totals, strict=True))
        if each != Reach() or index in measured
    ]


def _words(reach: Reach) -> str:
    (height, width), (down, right) = reach.size, reach.offset
    return f"{height}x{width}" + (f" off by {down:+g}, {right:+g}" if down or right else "")


def _side(totals: Sequence[Reach]) -> int:
    """Pixels of an image in whose middle every field has room."""
    widest = max(max(each.left, each.right, each.top, each.bottom) for each in totals)
    jump = max(each.stride for each in totals)
    return 2 * jump * math.ceil((widest + 2 * jump) / jump)


def _parts(network: PlainNetwork) -> list[tuple[str, nn.Module, int]]:
    """Name, `linear` module and input channels of stem and blocks, or of the layers."""
    if not isinstance(network, Architecture):
        placed = enumerate(narrowed(network).placed())
        return [(f"layer {index}", linear(layer.module(at)), at.channels) for index, (layer, at) in placed]
    blocks = [
        replace(
            block,
            in_channels=_NARROW,
            out_channels=_NARROW,
            expanded_channels=_EXPANDED if block.expanded_channels else 0,
            se_channels=0,
            se_bias=False,
        )
        for block in network.blocks
    ]
    stem = replace(network.stem, channels=_NARROW)
    narrow = Network(replace(network, in_channels=1, stem=stem, blocks=tuple(blocks)))
    named = [
        (f"block {index} {block.operator}", linear(module), _NARROW)
        for index, (block, module) in enumerate(zip(blocks, narrow.blocks, strict=True))
        if not block.is_skip
    ]
    return [("stem", linear(narrow.stem), 1), *named]


def as_json(name: str, found: Sequence[Seen]) -> dict[str, Any]:
    """All figures."""
    return {"network": name, "parts": [one.as_row() for one in found]}


def as_text(name: str, found: Sequence[Seen]) -> str:
    """The table, and what is seen at the end."""
    rows = []
    for one in found:
        row = one.as_row()
        down, right = row["offset_down_of_map"], row["offset_right_of_map"]
        rows.append(
            (
                *(one.part, row["own_field"], row["stride"], f"{row['height']}x{row['width']}"),
                *(f"{row['offset_down']:+g}, {row['offset_right']:+g}", f"{down:+g}, {right:+g}"),
                row["impulse_response"],
            )
        )
    header = ("part", "sees of its input", "stride", "of the image", "offset, px", "in px of its map", "measured")
    last = found[-1].of_image
    most = max(abs(value) / last.stride for value in last.offset)
    end = f"behind the last block the middle of the receptive field is off by {most:g} pixels of its map"
    return f"{name} (heights x widths in pixels; offsets down, right)\n{table(rows, header)}\n{end}"


def draw(name: str, found: Sequence[Seen], path: Path) -> None:
    """Receptive fields as squares around the pixel's own place, and the offset from block to block."""
    with figure(path, 9.5, 4.6) as drawing:
        fields, offsets = drawing.subplots(1, 2, width_ratios=(1, 1.25))
        last = {one.total.stride: one for one in found}
        for index, (stride, one) in enumerate(last.items()):
            total, colour = one.of_image, f"C{index}"
            (height, width), corner = total.size, (-total.left - 0.5, -total.top - 0.5)
            label = f"stride {stride}: {height}x{width} ({one.part})"
            fields.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=1.6, label=label))
            fields.plot(total.offset[1], total.offset[0], "o", color=colour, markersize=4)
        fields.plot(0, 0, "+", color="black", markersize=10, label="the pixel's own place")
        side = 0.55 * max(max(one.of_image.size) for one in found)
        fields.set(xlim=(-side, side), ylim=(side, -side), aspect="equal", xlabel="pixels of the image")
        fields.set_title(f"{name}: receptive fields", fontsize=10)
        fields.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
        places = range(len(found))
        for axis, (label, marker) in enumerate((("down", "v"), ("right", ">"))):
            values = [one.total.offset[axis] / one.total.stride for one in found]
            offsets.plot(places, values, marker=marker, label=label, alpha=0.8)
        offsets.axhline(0, color="0.5", linewidth=0.8)
        offsets.set_xticks(list(places), [one.part for one in found], rotation=90, fontsize=7)
        offsets.set_ylabel("offset of the field's middle, pixels of the map")
        offsets.set_title("accumulated offset", fontsize=10)
        offsets.legend(frameon=False)
