"""Places for the labels of points: each beside its own, none over another."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

#: Pixels of an average character of the labels' font (12 px), and of a line.
CHARACTER, LINE = 6.7, 15.0
_GAP = 9.0


@dataclass(frozen=True)
class Point:
    """A point with its error bar in a plot, in pixels from the left and from the top, and its label."""

    x: float
    y: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Place:
    """Where a label goes: an offset of its near end from the point, in pixels, and on which side of that it stands."""

    dx: float
    dy: float
    align: str


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: _Box) -> float:
        """The area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)


def place_labels(
    points: Sequence[Point], width: float, height: float, lines: Sequence[tuple[float, float, float, float]] = ()
) -> list[Place]:
    """A place for the label of each point in a plot of ``width`` x ``height`` pixels; the first ones choose first.

    ``lines`` are upright and level lines of the plot, (x, y, x, y), that are kept free where possible.

    A label over another one is the last resort, outside the plot the last but one; then come those over points and
    error bars, and then the distance counts.
    """
    obstacles = [_Box(p.x - 7, p.y - 7, p.x + 7, p.y + 7) for p in points]
    obstacles += [_Box(min(x, x2) - 2, min(y, y2) - 2, max(x, x2) + 2, max(y, y2) + 2) for x, y, x2, y2 in lines]
    obstacles += [_Box(p.x - 1, min(p.low, p.high), p.x + 1, max(p.low, p.high)) for p in points]
    taken: list[_Box] = []
    places = []
    for point in points:
        best: tuple[float, Place, _Box] | None = None
        for place in _candidates():
            box = _box(point, place)
            outside = box.overlap(_Box(0, 0, width, height)) < (box.right - box.left) * LINE - 1e-6
            cost = 1e6 * sum(map(box.overlap, taken)) + 1e5 * outside
            cost += 100 * sum(map(box.overlap, obstacles)) + place.dx**2 + place.dy**2 - (place.align == "left")
            if best is None or cost < best[0]:
                best = (cost, place, box)
        assert best is not None
        places.append(best[1])
        taken.append(best[2])
    return places


def _candidates() -> list[Place]:
    steps = [0.0, *(sign * k * LINE * 0.8 for k, sign in itertools.product(range(1, 9), (-1, 1)))]
    sides = [
        Place(sign * gap, dy, align)
        for dy in steps
        for gap in (_GAP, 2.5 * _GAP)
        for sign, align in ((1, "left"), (-1, "right"))
    ]
    return sides + [Place(0, dy, "center") for dy in steps if abs(dy) > LINE]


def _box(point: Point, place: Place) -> _Box:
    length = CHARACTER * len(point.text)
    x, y = point.x + place.dx, point.y + place.dy
    left = {"left": x, "right": x - length, "center": x - length / 2}[place.align]
    return _Box(left, y - LINE / 2, left + length, y + LINE / 2)
