"""Counting the choices of a `Box` on a grid of rounded totals, by dynamic programming, and drawing from the counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from strategies.budget.box import Box, IntArray

FloatArray = NDArray[np.float64]

#: Elements of the temporary arrays of a draw, so that they stay in the processor's cache.
_CHUNK = 1 << 17


@dataclass(frozen=True)
class _Level:
    """One label: its candidates gathered by equal rounded cost."""

    vectors: IntArray  # (bins, metrics): rounded costs
    sizes: FloatArray  # (bins,): candidates in each
    starts: IntArray  # (bins,): where those of a bin begin in `members`
    members: IntArray  # (candidates,)


class Grid:
    """How many choices of ``box`` have which rounded total, label by label: costs rounded down to whole ``steps``.

    `count` is the number of choices whose rounded total lies in the rounded box, which is wide enough to hold every
    choice inside; if `exact` it holds no other.
    """

    def __init__(self, box: Box, steps: IntArray) -> None:
        rounded = [costs // steps for costs in box.costs]
        lost = sum((costs - steps * q).max(axis=0) for costs, q in zip(box.costs, rounded, strict=True))
        #: whether rounding takes nothing away
        self.exact = not np.any(lost)
        # Numbers beyond float64 are counted in units of 2**shift a label.
        bits = sum(math.log2(len(own)) for own in rounded)
        self._shift = max(0, math.ceil((bits - 1000) / len(rounded)))
        self._levels = [_gather(own) for own in rounded]
        # (labels + 1, metrics): the totals that the first i labels can reach and the others can complete
        reach = np.cumsum([np.zeros_like(steps), *(own.max(axis=0) for own in rounded)], axis=0)
        self._first = np.maximum(-((lost - box.low) // steps) - (reach[-1] - reach), 0)
        self._last = np.minimum(box.high // steps, reach)
        self._tables: list[FloatArray] = []
        self._origins: list[IntArray] = []  # the rounded total at index 0 of each table
        self._final: FloatArray = np.zeros((0,) * len(steps))
        if (self._first <= self._last).all():
            self._fill()

    @property
    def count(self) -> int:
        """Number of choices in the rounded box."""
        mantissa, exponent = math.frexp(float(self._final.sum()))
        return int(Fraction(mantissa) * Fraction(2) ** (exponent + self._shift * len(self._levels)))

    def _fill(self) -> None:
        """Table i holds the counts of the first i labels wherever label i may ask for them, and 0 around: no draw has
        to look whether it is still inside."""
        counts = np.ones((1,) * self._first.shape[1])
        for i, level in enumerate(self._levels):
            origin = self._first[i + 1] - level.vectors.max(axis=0)
            table = np.zeros(self._last[i + 1] - origin + 1)
            table[_slices(self._first[i] - origin, counts.shape)] = counts
            counts = np.zeros(self._last[i + 1] - self._first[i + 1] + 1)
            corners = self._first[i + 1] - origin - level.vectors
            for corner, weight in zip(corners, np.ldexp(level.sizes, -self._shift).tolist(), strict=True):
                source = table[_slices(corner, counts.shape)]
                counts += source if weight == 1 else source * weight
            self._origins.append(origin)
            self._tables.append(table)
        self._final = counts

    def propose(self, rng: np.random.RandomState, n: int) -> IntArray:
        """``n`` independent draws (n, labels), uniform over the choices whose rounded total is in the rounded box."""
        uniforms = rng.random_sample((2 * len(self._levels) + 1, n))
        cells = np.minimum(np.searchsorted(self._sums, uniforms[0] * self._sums[-1], "right"), len(self._sums) - 1)
        totals = np.stack(np.unravel_index(cells, self._final.shape)) + self._first[-1][:, None]
        choices = np.empty((n, len(self._levels)), dtype=np.int64)
        block = max(1, _CHUNK // max(len(level.sizes) for level in self._levels))
        for begin in range(0, n, block):
            part = slice(begin, begin + block)
            self._walk_back(totals[:, part], uniforms[1:, part], choices[part])
        return choices

    @cached_property
    def _sums(self) -> FloatArray:
        return np.cumsum(self._final)

    def _walk_back(self, totals: IntArray, uniforms: FloatArray, choices: IntArray) -> None:
        """Fill ``choices`` (n, labels) with draws that end in ``totals`` (metrics, n)."""
        for i in reversed(range(len(self._levels))):
            level, table = self._levels[i], self._tables[i]
            strides = np.array(table.strides) // table.itemsize
            base = strides @ (totals - self._origins[i][:, None])
            weights = table.ravel()[base - (level.vectors @ strides)[:, None]]
            weights *= level.sizes[:, None]
            for k in range(1, len(weights)):  # running sums, ten times as fast as numpy's, which goes down the columns
                weights[k] += weights[k - 1]
            bins = (weights <= uniforms[2 * i] * weights[-1]).sum(axis=0, dtype=np.int32)
            members = level.starts[bins] + (uniforms[2 * i + 1] * level.sizes[bins]).astype(np.int64)
            choices[:, i] = level.members[members]
            totals = totals - level.vectors[bins].T

    def enumerate(self) -> IntArray:
        """All choices whose rounded total is in the rounded box: (`count`, labels)."""
        totals = np.argwhere(self._final > 0) + self._first[-1]
        choices = np.empty((len(totals), 0), dtype=np.int64)
        for level, table, origin in reversed(list(zip(self._levels, self._tables, self._origins, strict=True))):
            bins = np.repeat(np.arange(len(level.sizes)), level.sizes.astype(np.int64))
            before = totals[:, None] - level.vectors[bins]
            rows, members = np.nonzero(table[tuple(np.moveaxis(before - origin, 2, 0))])
            totals = before[rows, members]
            choices = np.concatenate([level.members[members][:, None], choices[rows]], axis=1)
        return choices


def _slices(corner: IntArray, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(start, start + length) for start, length in zip(corner.tolist(), shape, strict=True))


def _gather(rounded: IntArray) -> _Level:
    vectors, inverse, sizes = np.unique(rounded, axis=0, return_inverse=True, return_counts=True)
    members = np.argsort(inverse.ravel(), kind="stable")
    return _Level(vectors, sizes.astype(np.float64), np.concatenate([[0], np.cumsum(sizes)[:-1]]), members)


def _work(box: Box, steps: FloatArray) -> float:
    """About how many additions the tables of a grid with these steps take."""
    most = np.stack([own.max(axis=0) for own in box.costs]) / steps
    reach = np.cumsum(most, axis=0)
    low = np.maximum(box.low / steps - (reach[-1] - reach), 0)
    cells = np.prod(np.maximum(np.minimum(box.high / steps, reach) - low, 0) + 1, axis=1)
    return float((cells * [len(own) for own in box.costs]).sum())


def choose_steps(box: Box, scale: FloatArray, work: float) -> IntArray:
    """The finest steps, in proportion to ``scale`` (metrics,), whose tables take at most ``work`` additions."""
    if _work(box, np.ones_like(scale)) <= work:
        return np.ones(len(scale), dtype=np.int64)
    # logarithms of what `scale` is multiplied by
    fine, coarse = math.log(1 / float(scale.max())), math.log(float((box.high / scale).max()) + 2)
    while coarse - fine > 0.01:
        middle = (fine + coarse) / 2
        if _work(box, np.maximum(np.ceil(scale * math.exp(middle)), 1)) > work:
            fine = middle
        else:
            coarse = middle
    return np.maximum(np.ceil(scale * math.exp(coarse)), 1).astype(np.int64)
