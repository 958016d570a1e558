"""How all figures look: one style, one way of saving, and one colour for the same network in every figure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure

from search_space.base.atomic import replacing
from search_space.hand_designed import baselines
from strategies.registry import STRATEGIES

#: label of an axis or a colour bar
MACS_AXIS = "MACs per image, millions"

# From one hue to the next it is an irrational turn, so no hue comes twice. Of the usual irrational numbers this one
# keeps the strategies and baselines that are compared most often farthest apart.
_TURN = 3**0.5 - 1
_SHADES = ((0.85, 0.75), (0.6, 0.9), (1.0, 0.5))


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


def draw_bounds(axes: Axes, bounds: tuple[float | None, float | None], unit: float, suffix: str = "") -> None:
    """Vertical lines for the lower and the upper bound of a budget, on an axis in multiples of ``unit``."""
    for bound, text in zip(bounds, ("budget: at least", "budget: at most"), strict=True):
        if bound is not None:
            label = f"{text} {bound / unit:g}{suffix}"
            axes.axvline(bound / unit, color="0.5", linestyle="--", linewidth=1, label=label)


def network_colour(family: str) -> tuple[float, float, float]:
    """Red, green and blue (0 to 1) of the networks of ``family``.

    A family is a strategy (its winners), a hand-designed network, ``random`` (grey), or any other name. The colour
    depends on the name alone, not on what else is in the figure; no two strategies or hand-designed networks share one.
    """
    if family == "random":
        return 0.45, 0.45, 0.45
    known = [*STRATEGIES, *baselines()]
    # a checksum is the same on every machine, unlike hash()
    number = known.index(family) if family in known else 1000 + zlib.crc32(family.encode()) % 1000
    saturation, value = _SHADES[number % len(_SHADES)]
    red, green, blue = hsv_to_rgb(((0.7 + number * _TURN) % 1, saturation, value))
    return float(red), float(green), float(blue)
