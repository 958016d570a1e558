"""How all figures look: one style, one way of saving, and one colour for the same network in every figure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from colorsys import hls_to_rgb
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from search_space.base.atomic import replacing
from search_space.hand_designed import baselines
from strategies.registry import STRATEGIES

#: label of an axis or a colour bar
MACS_AXIS = "MACs per image, millions"

# From one hue to the next it is an irrational turn, so no hue comes twice. Of the usual irrational numbers this one,
# with this begin and these shades (saturation, luminance), keeps the strategies and baselines that are compared most
# often farthest apart.
_TURN = 3**0.5 - 1
_BEGIN = 0.7
_SHADES = ((0.66, 0.15), (0.54, 0.28), (0.75, 0.2))


@contextmanager
def figure(
    path: Path, width: float, height: float, layout: Literal["constrained"] | None = "constrained"
) -> Iterator[Figure]:
    """A figure in the common style, sizes in inches; saved as ``path`` (PNG) when the block ends without an error."""
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        drawing = Figure(figsize=(width, height), dpi=150, layout=layout)
        yield drawing
        with replacing(path) as temporary:
            drawing.savefig(temporary)


def draw_bounds(axes: Axes, bounds: tuple[float | None, float | None], unit: float) -> None:
    """Vertical lines for the lower and the upper bound of a budget, on an axis in multiples of ``unit``."""
    for bound, text in zip(bounds, ("budget: at least", "budget: at most"), strict=True):
        if bound is not None:
            label = f"{text} {bound / unit:g}"
            axes.axvline(bound / unit, color="0.5", linestyle="--", linewidth=1, label=label)


def network_colour(family: str) -> tuple[float, float, float]:
    """Red, green and blue (0 to 1) of the networks of ``family``.

    A family is a strategy (its winners), a hand-designed network, ``random`` (grey), or any other name. The colour
    depends on the name alone, not on what else is in the figure; no two strategies or hand-designed networks share one.
    """
    if family == "random":
        return to_rgb(colour_of(0, 0, 0.18))
    known = [*STRATEGIES, *baselines()]
    # a checksum is the same on every machine, unlike hash()
    number = known.index(family) if family in known else 1000 + zlib.crc32(family.encode()) % 1000
    return to_rgb(colour_of((_BEGIN + number * _TURN) % 1, *_SHADES[number % len(_SHADES)]))


def colour_of(hue: float, saturation: float, luminance: float) -> str:
    """A colour as ``#rrggbb``, of a hue in turns, a saturation in [0, 1] and a relative luminance (that of WCAG).

    Of luminances from 0.14 to 0.3 it contrasts by 3:1 at least with white and with nearly black: it can stand for the
    same thing on light and on dark pages.
    """
    low, high = 0.0, 1.0
    for _ in range(20):
        lightness = (low + high) / 2
        if relative_luminance(hls_to_rgb(hue, lightness, saturation)) < luminance:
            low = lightness
        else:
            high = lightness
    return to_hex(hls_to_rgb(hue, low, saturation))


def relative_luminance(colour: tuple[float, float, float]) -> float:
    """That of WCAG 2, from 0 (black) to 1 (white), of red, green and blue in [0, 1]."""
    linear = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in colour)
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
