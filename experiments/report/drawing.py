"""A network as a drawing, block by block: operator, kernel, width, costs, in the colour of the operator's family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from experiments.describe import rows
from experiments.report.families import NEUTRAL, family, family_colour, family_name, readable
from search_space.architecture import SKIP, Architecture
from search_space.network_cost import cost
from strategies.budget.budget import format_count

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"
_BAR = 20


@dataclass(frozen=True)
class Layout:
    """Where the columns of a drawing are, in pixels.

    Attributes:
        width: of the drawing.
        map: begin of the column with the sizes of the feature maps; None if they stand with the text.
        centre, half: middle of the bars, and half the width of the widest.
        text: begin of the words.
        shares: width of the bars of the share of MACs; 0 for numbers alone.
        row, skip: height of a row, and of one that holds no layers.
    """

    width: int
    map: int | None
    centre: int
    half: int
    text: int
    shares: int
    row: int
    skip: int


WIDE = Layout(width=900, map=0, centre=214, half=132, text=384, shares=120, row=42, skip=24)
NARROW = Layout(width=340, map=None, centre=52, half=44, text=112, shares=0, row=46, skip=26)


def draw(architecture: Architecture, name: str, layout: Layout = WIDE) -> str:
    """The SVG; colours of the page are CSS variables (``--ink``, ``--muted``, ``--line``)."""
    layers = rows(architecture)
    widest = max(_channels(layer)[1] for layer in layers)
    most = max(float(layer["macs_share"]) for layer in layers)
    parts: list[str] = []
    top, size = 4.0, None
    ends: list[tuple[float, float]] = []
    for layer in layers:
        skip = layer["operator"] == SKIP
        height = layout.skip if skip else layout.row
        if layout.map is not None and layer["map"] != size:
            if size is not None:
                parts.append(_line(0, top, layout.width, top, "var(--line)"))
            text = f"{layer['map']}×{layer['map']}"
            parts.append(_text(layout.map, top + height / 2 + 4, text, size=12, colour="var(--muted)"))
        size = layer["map"]
        ends.append((top + (height - _BAR) / 2, top + (height + _BAR) / 2) if not skip else (top, top + height))
        parts += _row(layer, layout, top, height, widest, most)
        top += height
    flow = [
        _line(layout.centre, end, layout.centre, begin, "var(--muted)", width=1.5)
        for (_, end), (begin, _) in pairwise(ends)
    ]
    total = cost(architecture)
    label = (
        f"{name}: {len(architecture.blocks)} blocks, {format_count(total.macs)} MACs,"
        f" {format_count(total.params)} parameters. " + "; ".join(_words(layer) for layer in layers)
    )
    height = round(top + 4)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {layout.width} {height}" width="{layout.width}"'
        f' height="{height}" role="img" aria-label={quoteattr(label)} font-family="{_FONT}">'
        f"{''.join(flow)}{''.join(parts)}</svg>"
    )


def families_of(architecture: Architecture) -> dict[str, str]:
    """{what people call a family: its colour} of the families in a network, in the order of their first blocks."""
    names = dict.fromkeys(family(block.operator) for block in architecture.blocks if not block.is_skip)
    return {family_name(name): family_colour(name) for name in names}


def _row(layer: Mapping[str, Any], layout: Layout, top: float, height: float, widest: int, most: float) -> list[str]:
    middle = top + height / 2
    operator = str(layer["operator"])
    if operator == SKIP:
        dash = _line(layout.centre, top, layout.centre, top + height, "var(--muted)", width=1.5, dash=True)
        return [dash, _text(layout.text, middle + 4, "skip", size=12, colour="var(--muted)")]
    out, inner = _channels(layer)
    plain = layer["block"] in ("stem", "head")
    colour = NEUTRAL if plain else family_colour(family(operator))
    parts = []
    if layer.get("residual"):
        # around the block, at the right of the widest bar
        x = layout.centre + layout.half + 7
        y1, y2 = top + 3, top + height - 3
        parts.append(
            f'<path d="M{layout.centre} {y1}H{x - 4}q4 0 4 4V{y2 - 4}q0 4 -4 4H{layout.centre}" fill="none"'
            ' stroke="var(--muted)" stroke-width="1"/>'
        )
    for channels, opacity in ((inner, 0.28), (out, 1.0)):
        half = max(3.0, layout.half * (channels / widest) ** 0.5)
        parts.append(
            f'<rect x="{layout.centre - half:.1f}" y="{middle - _BAR / 2:.1f}" width="{2 * half:.1f}" height="{_BAR}"'
            f' rx="4" fill="{colour}" fill-opacity="{opacity}"/>'
        )
    title = operator.replace("3x3", "3×3") if plain else readable(operator)
    parts.append(_text(layout.text, middle - 3, title, size=13, weight=600))
    parts.append(_text(layout.text, middle + 13, _details(layer, layout), size=11, colour="var(--muted)"))
    share = float(layer["macs_share"])
    if layout.shares:
        x = layout.width - layout.shares - 52
        parts.append(f'<rect x="{x}" y="{middle - 3}" width="{layout.shares}" height="6" rx="3" fill="var(--line)"/>')
        length = max(2.0, layout.shares * share / most)
        parts.append(f'<rect x="{x}" y="{middle - 3}" width="{length:.1f}" height="6" rx="3" fill="{colour}"/>')
    at = middle + (4 if layout.shares else 13)
    parts.append(_text(layout.width, at, f"{share:.1%}", size=12, colour="var(--muted)", anchor="end"))
    return parts


def _channels(layer: Mapping[str, Any]) -> tuple[int, int]:
    """(output channels, the most channels inside)."""
    out = int(layer["out"])
    if layer["operator"] == SKIP:
        return out, 1
    return out, max(out, int(layer.get("expanded") or 0))


def _details(layer: Mapping[str, Any], layout: Layout) -> str:
    expanded = f" → {layer['expanded']}" if layer.get("expanded") else ""
    words = [f"{layer['in']}{expanded} → {layer['out']}"]
    if layout.map is None:
        words.insert(0, f"{layer['map']} px")
    if layer.get("stride") == 2:
        words.append("stride 2" if layout.map is not None else "s2")
    if layer.get("SE"):
        words.append(f"SE {layer['SE']}")
    if layout.map is not None and layer.get("activation"):
        words.append(str(layer["activation"]))
    return " · ".join(words)


def _words(layer: Mapping[str, Any]) -> str:
    """A layer as a screen reader says it."""
    if layer["operator"] == SKIP:
        return f"block {layer['block']}: skip"
    place = str(layer["block"]) if layer["block"] in ("stem", "head") else f"block {layer['block']}"
    return f"{place}: {readable(str(layer['operator'])) if place.startswith('block') else layer['operator']}," + (
        f" {layer['in']} to {layer['out']} channels, {float(layer['macs_share']):.0%} of the MACs"
    )


def _text(
    x: float, y: float, text: str, *, size: int, colour: str = "var(--ink)", weight: int = 400, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{colour}"'
        f' text-anchor="{anchor}">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1, dash: bool = False) -> str:
    dashes = ' stroke-dasharray="3 3"' if dash else ""
    return f'<line x1="{x1}" y1="{y1:.1f}" x2="{x2}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"{dashes}/>'
