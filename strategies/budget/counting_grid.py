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
    """How many choices of ``box`` have which rounded total, label by label.

    A candidate's cost in metric m is rounded down to whole ``steps[m]``. ``total`` is the number of choices whose
    rounded total lies in the rounded box, which is made wide enough to hold every choice inside; it is their exact
    number if all steps are 1 (`exact`).
    """

    def __init__(self, box: Box, steps: IntArray) -> None:
        self.box = box
        self.steps = steps
        rounded = [costs // steps for costs in box.costs]
        self._lost = sum((costs - steps * q).max(axis=0) for costs, q in zip(box.costs, rounded, strict=True))
        self.exact = not np.any(self._lost)
        # Numbers beyond float64 are counted in units of 2**shift a label.
        bits = sum(math.log2(len(own)) for own in rounded)
        self._shift = max(0, math.ceil((bits - 1000) / len(rounded)))
        self._levels = [_gather(own) for own in rounded]
        self._first, self._last = self._extents(rounded)
        self._tables: list[FloatArray] = []
        self._origins: list[IntArray] = []  # the rounded total at index 0 of each table
        self._final: FloatArray = np.zeros((0,) * len(steps))
        self.total = 0.0
        if (self._first <= self._last).all():
            self._fill()

    @property
    def count(self) -> int:
        """`total` as a whole number."""
        mantissa, exponent = math.frexp(self.total)
        return int(Fraction(mantissa) * Fraction(2) ** (exponent + self.shift))

    @property
    def shift(self) -> int:
        """`total` counts in units of 2**shift."""
        return self._shift * len(self._levels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rounded totals along each metric."""
        return self._final.shape

    @property
    def corner(self) -> IntArray:
        """(metrics,): the smallest rounded totals."""
        return self._first[-1]

    def rounded(self, choices: IntArray) -> IntArray:
        """(n, labels) -> (n, metrics): rounded totals."""
        result = np.zeros((len(choices), len(self.steps)), dtype=np.int64)
        for column, costs in enumerate(self.box.costs):
            result += costs[choices[:, column]] // self.steps
        return result

    def weigh(self, weights: FloatArray) -> None:
        """Propose choices in proportion to ``weights`` (`shape`) of their rounded total from now on."""
        self._final = self._final * weights
        self.total = float(self._final.sum())

    def rounded_window(self, low: IntArray, high: IntArray) -> tuple[IntArray, IntArray]:
        """The smallest and largest rounded total of any choice from ``low`` to ``high``."""
        return -((self._lost - low) // self.steps), high // self.steps

    def _extents(self, rounded: list[IntArray]) -> tuple[IntArray, IntArray]:
        """(labels + 1, metrics) twice: the totals that the first i labels can reach and the others can complete."""
        reach = np.cumsum([np.zeros_like(self.steps), *(own.max(axis=0) for own in rounded)], axis=0)
        low, high = self.rounded_window(self.box.low, self.box.high)
        return np.maximum(low - (reach[-1] - reach), 0), np.minimum(high, reach)

    def _fill(self) -> None:
        """Table i holds the counts of the first i labels wherever label i may ask for them, and 0 around: no draw has
        to look whether it is still inside."""
        counts = np.ones((1,) * len(self.steps))
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
        self.total = float(counts.sum())

    def propose(self, rng: np.random.RandomState, n: int) -> IntArray:
        """``n`` independent draws (n, labels), uniform over the choices whose rounded total is in the rounded box."""
        uniforms = rng.random_sample((2 * len(self._levels) + 1, n))
        cells = _pick(self._sums, uniforms[0])
        totals = np.stack(np.unravel_index(cells, self.shape)) + self.corner[:, None]
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
            _accumulate(weights)
            bins = (weights <= uniforms[2 * i] * weights[-1]).sum(axis=0, dtype=np.int32)
            members = level.starts[bins] + (uniforms[2 * i + 1] * level.sizes[bins]).astype(np.int64)
            choices[:, i] = level.members[members]
            totals = totals - level.vectors[bins].T

    def enumerate(self) -> IntArray:
        """All choices whose rounded total is in the rounded box: (total, labels)."""
        totals = np.argwhere(self._final > 0) + self.corner
        choices = np.empty((len(totals), 0), dtype=np.int64)
        for level, table, origin in reversed(list(zip(self._levels, self._tables, self._origins, strict=True))):
            bins = np.repeat(np.arange(len(level.sizes)), level.sizes.astype(np.int64))
            before = totals[:, None] - level.vectors[bins]
            rows, members = np.nonzero(table[tuple(np.moveaxis(before - origin, 2, 0))])
            totals = before[rows, members]
            choices = np.concatenate([level.members[members][:, None], choices[rows]], axis=1)
        return choices


def _accumulate(weights: FloatArray) -> None:
    """Running sums along the first axis, in place."""
    if weights.shape[1] < 64:
        np.cumsum(weights, axis=0, out=weights)
    else:  # row by row is ten times as fast as numpy's running sum, which goes down the columns
        for k in range(1, len(weights)):
            weights[k] += weights[k - 1]


def _slices(corner: IntArray, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(start, start + length) for start, length in zip(corner.tolist(), shape, strict=True))


def _gather(rounded: IntArray) -> _Level:
    vectors, inverse, sizes = np.unique(rounded, axis=0, return_inverse=True, return_counts=True)
    members = np.argsort(inverse.ravel(), kind="stable")
    return _Level(vectors, sizes.astype(np.float64), np.concatenate([[0], np.cumsum(sizes)[:-1]]), members)


def _pick(sums: FloatArray, uniforms: FloatArray) -> IntArray:
    """Positions drawn by weight, from the running sums of the weights."""
    return np.minimum(np.searchsorted(sums, uniforms * sums[-1], side="right"), len(sums) - 1)


def grid_work(box: Box, steps: NDArray[np.float64]) -> float:
    """About how many additions the tables of a grid with these steps take."""
    most = np.stack([own.max(axis=0) for own in box.costs]) / steps
    reach = np.cumsum(most, axis=0)
    low = np.maximum(box.low / steps - (reach[-1] - reach), 0)
    cells = np.prod(np.maximum(np.minimum(box.high / steps, reach) - low, 0) + 1, axis=1)
    return float((cells * [len(own) for own in box.costs]).sum())


def choose_steps(box: Box, scale: NDArray[np.float64], work: float) -> IntArray:
    """The finest steps, in proportion to ``scale`` (metrics,), whose tables take at most ``work`` additions."""
    if grid_work(box, np.ones_like(scale)) <= work:
        return np.ones(len(scale), dtype=np.int64)
    # logarithms of what `scale` is multiplied by
    few, many = math.log(1 / float(scale.max())), math.log(float((box.high / scale).max()) + 2)
    while many - few > 0.01:
        middle = (few + many) / 2
        if grid_work(box, np.maximum(np.ceil(scale * math.exp(middle)), 1)) > work:
            few = middle
        else:
            many = middle
    return np.maximum(np.ceil(scale * math.exp(many)), 1).astype(np.int64)
