"""Draws for windows so narrow that a grid's rounding would drop nearly all it proposes: the last labels exactly."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from strategies.budget.box import Box, IntArray
from strategies.budget.counting_grid import Grid, choose_steps

#: Combinations of the last labels that are listed.
_ENTRIES = 2_000_000
#: Entries that a draw may have to look at.
_MATCHES = 300


class TailSampler:
    """Uniform draws inside a `Box`, by a grid for the first labels and a list of all combinations of the last ones.

    The first labels are drawn on the grid with weight ``W``, an upper bound on how many entries of the list can
    complete a choice with their rounded total; with their exact total, ``h <= W`` entries are counted in the sorted
    list, and one of them is taken with probability ``h / W`` in all. Each choice inside is so proposed with the same
    probability. Only the first labels are rounded, and ``W`` is at most the number of entries in any one window, which
    is small for the narrow windows that this is for.
    """

    def __init__(self, box: Box, work: float) -> None:
        self._box = box
        sizes = [len(own) for own in box.costs]
        first = len(sizes) - 1  # of the listed labels; at least one label is left for the grid
        while first > 1 and self._in_window(first - 1) <= _MATCHES and math.prod(sizes[first - 1 :]) <= _ENTRIES:
            first -= 1
        self._first, self._sizes = first, sizes[first:]
        entries = np.zeros((1, len(box.low)), dtype=np.int64)
        for own in box.costs[first:]:
            entries = (entries[:, None] + own[None]).reshape(-1, len(box.low))
        # sorted by the metric whose window holds the smallest share of what the list spans
        spans = np.maximum(entries.max(axis=0), 1)
        self._sorted_by = int(np.argmin((box.high - box.low) / spans))
        order = np.argsort(entries[:, self._sorted_by], kind="stable")
        self._entries, self._codes = entries[order], order
        head = Box(box.costs[:first], box.kept[:first], np.maximum(box.low - entries.max(axis=0), 0), box.high)
        scale = np.maximum(box.high, 1).astype(np.float64)
        self._grid = Grid(head, choose_steps(head, scale, work))
        self._weights = np.empty(0)
        if self._grid.total > 0:
            self._weights = np.minimum(self._completions(), self._most_in_a_window())
            self._grid.weigh(self._weights)

    def _in_window(self, first: int) -> float:
        """About how many combinations of the labels from ``first`` on have a total in one window of one metric."""
        spans = np.maximum(sum(own.max(axis=0) for own in self._box.costs[first:]), 1)
        share = float(((self._box.high - self._box.low + 1) / spans).min())
        return share * math.prod(len(own) for own in self._box.costs[first:])

    @property
    def count(self) -> int:
        """The sum of the weights: times the share that `propose` accepts it is the number of choices inside."""
        return self._grid.count

    def propose(self, rng: np.random.RandomState, n: int) -> IntArray:
        """The choices inside among ``n`` proposals: (at most n, labels)."""
        if self._grid.total == 0:
            return np.empty((0, len(self._box.costs)), dtype=np.int64)
        heads = self._grid.propose(rng, n)
        weights = self._weights[tuple((self._grid.rounded(heads) - self._grid.corner).T)]
        rows, entries = self._complete(self._grid.box.totals(heads))
        found = np.bincount(rows, minlength=n)
        chosen = (rng.random_sample(n) * weights).astype(np.int64)  # which of W; none if it is h or more
        taken = np.flatnonzero(chosen < found)
        places = (np.cumsum(found) - found)[taken] + chosen[taken]
        tails = np.stack(np.unravel_index(self._codes[entries[places]], self._sizes), axis=1)
        return np.concatenate([heads[taken], tails], axis=1)

    def _complete(self, totals: IntArray) -> tuple[IntArray, IntArray]:
        """All pairs (row of ``totals``, entry) that are inside together, rows ascending."""
        low, high, m = self._box.low - totals, self._box.high - totals, self._sorted_by
        keys = self._entries[:, m]
        begin, end = np.searchsorted(keys, low[:, m], "left"), np.searchsorted(keys, high[:, m], "right")
        lengths = np.maximum(end - begin, 0)
        rows = np.repeat(np.arange(len(totals)), lengths)
        entries = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + begin[rows]
        own = self._entries[entries]
        keep = ((own >= low[rows]) & (own <= high[rows])).all(axis=1)
        return rows[keep], entries[keep]

    def _completions(self) -> NDArray[np.float64]:
        """For every rounded total of the first labels, at least the number of entries that can complete it."""
        steps, shape = self._grid.steps, self._grid.shape
        rounded = self._entries // steps
        extent = tuple((rounded.max(axis=0) + 1).tolist())
        places = np.ravel_multi_index(tuple(rounded.T), extent)
        counts = np.bincount(places, minlength=math.prod(extent)).reshape(extent)
        low, high = self._grid.rounded_window(self._box.low - (steps - 1), self._box.high)
        for m, length in enumerate(shape):  # a box sum is one running sum an axis
            at = np.arange(length) + self._grid.corner[m]
            sums = np.concatenate([np.zeros_like(counts.take([0], axis=m)), counts.cumsum(axis=m)], axis=m)
            last = sums.shape[m] - 1
            upper = sums.take(np.clip(high[m] - at + 1, 0, last), axis=m)
            counts = upper - sums.take(np.clip(low[m] - at, 0, last), axis=m)
        return np.maximum(counts, 0)

    def _most_in_a_window(self) -> int:
        """At least the number of entries in any window as wide as the box."""
        cells = self._entries // (self._box.high - self._box.low + 1)
        extent = cells.max(axis=0) + 2
        keys, counts = np.unique(np.ravel_multi_index(tuple(cells.T), tuple(extent)), return_counts=True)
        # a window overlaps two cells along each axis; the lowest of them may be empty
        corners = [np.ravel_multi_index(c, tuple(extent)) for c in itertools.product((0, 1), repeat=len(extent))]
        lowest = np.unique(np.concatenate([keys - corner for corner in corners]))
        most = np.zeros(len(lowest), dtype=np.int64)
        for corner in corners:
            at = np.minimum(np.searchsorted(keys, lowest + corner), len(keys) - 1)
            most += np.where(keys[at] == lowest + corner, counts[at], 0)
        return int(most.max())
