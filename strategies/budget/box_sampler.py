"""Counting and drawing, uniformly, the choices whose total costs lie inside a box.

A choice takes one candidate for every label; its costs (one number a metric) add up over the labels, and each total has
a lower and an upper bound. Such choices may be one in a million or fewer, so they are counted, not tried out:

1. What cannot matter is left out (`reduce_box`): candidates too dear or too cheap for any choice inside, metrics whose
   bounds exclude nothing, common divisors.
2. Each metric is cut into steps, and a candidate's cost is rounded *down* to whole steps. Dynamic programming over the
   labels then counts, for every vector of rounded totals, the choices that reach it (`Grid`). The rounded box is
   widened by the most that rounding can take away, so it holds every choice inside.
3. A draw picks a rounded total by its count and walks back through the tables, which is uniform over the rounded box
   however small a share of the space that is. A choice whose exact costs are outside is dropped and drawn again. What
   remains is *exactly* uniform over the choices inside, whatever the steps.

With steps of 1 the count is exact and nothing is ever dropped. Otherwise steps are as fine as ``work`` allows, and
metrics share them by what each of them drops. How much is dropped depends on the width of a step against the width of
the box, not on the share of the space inside. Few choices (`LISTED`) are written out instead, and for narrow windows
the last labels are not rounded (`TailSampler`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from search_space.base.errors import InvalidRequest
from strategies.budget.box import IntArray, reduce_box
from strategies.budget.counting_grid import Grid, choose_steps
from strategies.budget.tail_sampler import TailSampler

#: Additions that filling the tables may take: about half a second's worth, and as much memory as 100 MB.
WORK = 3e8
#: Sets up to this size are written out.
LISTED = 100_000
#: Proposals by which the share that survives the exact test is estimated.
_PILOT = 4096


class BoxSampler:
    """Uniform draws among the choices of ``costs`` whose totals lie from ``low`` to ``high``, both ends included.

    Args:
        costs: for each label the costs of its candidates, whole numbers of shape (candidates, metrics).
        low, high: shape (metrics,): bounds on the totals.
        confirm: choices (n, labels) -> (n,), whether they are truly inside; for whole numbers that are themselves
            rounded, in a box widened accordingly.
        work: additions that the tables may take.
    """

    def __init__(
        self,
        costs: Sequence[IntArray],
        low: IntArray,
        high: IntArray,
        *,
        confirm: Callable[[IntArray], NDArray[np.bool_]] | None = None,
        work: float = WORK,
    ) -> None:
        self._confirm = confirm
        self._labels = len(costs)
        self._listed: IntArray | None = None
        self._proposer: Grid | TailSampler | None = None
        self._acceptance = 0.0  # share of the proposals that are inside
        self._exact = False  # whether all proposals are known to be inside
        box = reduce_box(costs, low, high)
        if box is None:
            self._listed = np.empty((0, self._labels), dtype=np.int64)
            return
        # small tables first: labels with a short range, and so small tables, come before those with a long one
        order = np.argsort([float((own.max(axis=0) / np.maximum(box.high, 1)).sum()) for own in box.costs])
        self._order, self._box = order, box.reordered(order)
        if math.prod(len(kept) for kept in box.kept) <= LISTED // 10:
            self._listed = self._test(self._box.spelled_out())
        else:
            self._settle(work)

    def _settle(self, work: float) -> None:
        """Choose a way to propose of which most is inside, or write out the choices inside if they are few."""
        # tables much larger than the number of combinations are of no use
        work = min(work, 2 * math.prod(len(kept) for kept in self._box.kept))
        scale = np.maximum(self._box.high, 1).astype(np.float64)
        for enough in (0.4, 0.05) if len(scale) > 1 else (0.05,):
            grid = Grid(self._box, choose_steps(self._box, scale, work))
            if grid.count <= LISTED:
                self._listed = self._test(grid.enumerate())
                return
            losses = self._consider(grid)
            if self._acceptance >= enough:
                return
            # the metric whose steps drop more, in logarithms, gets finer ones at the cost of the others
            scale = scale / np.clip(losses / losses.mean(), 1 / 16, 16)
        tail = TailSampler(self._box, work)
        self._consider(tail)
        if self._proposer is not tail:
            self._consider(Grid(self._box, choose_steps(self._box, scale, 3 * work)))
        if self._acceptance == 0:
            raise InvalidRequest(
                "budget: its bounds leave so narrow a window that architectures inside cannot be drawn evenly; widen it"
            )

    def _consider(self, proposer: Grid | TailSampler) -> NDArray[np.float64]:
        """Keep the proposer if more of what it proposes is inside than of any before.

        Returns, for each metric, minus the logarithm of the share that is inside by that metric.
        """
        rng = np.random.RandomState(0)
        if isinstance(proposer, Grid) and proposer.exact and self._confirm is None:
            self._proposer, self._acceptance, self._exact = proposer, 1.0, True
            return np.ones(len(self._box.low))
        proposals = proposer.propose(rng, _PILOT)
        accepted = len(self._test(proposals)) / _PILOT
        # a draw from the tail takes several times as long
        if accepted > self._acceptance * (5 if isinstance(proposer, TailSampler) else 1):
            self._proposer, self._acceptance = proposer, accepted
        totals = self._box.totals(proposals)
        kept = ((totals >= self._box.low) & (totals <= self._box.high)).sum(axis=0)
        return 1e-3 - np.log((kept + 0.5) / (_PILOT + 1))

    @property
    def count(self) -> int:
        """Number of choices inside, within a relative standard error of `count_error`."""
        if self._listed is not None:
            return len(self._listed)
        assert self._proposer is not None
        total = self._proposer.count
        return total if self._acceptance == 1 else round(Fraction(self._acceptance) * total)

    @property
    def count_error(self) -> float:
        """0 if `count` is exact up to the rounding of float64 (1e-12), else its relative standard error."""
        if self._listed is not None or self._exact:
            return 0.0
        dropped = max(1 - self._acceptance, 1 / _PILOT)
        return math.sqrt(dropped / (self._acceptance * _PILOT))

    def _test(self, choices: IntArray) -> IntArray:
        """Those of the choices, as the grid numbers them, that are inside, as the caller numbers them."""
        totals = self._box.totals(choices)
        choices = choices[((totals >= self._box.low) & (totals <= self._box.high)).all(axis=1)]
        result = np.empty_like(choices)
        for column, label in enumerate(self._order):
            result[:, label] = self._box.kept[column][choices[:, column]]
        return result if self._confirm is None else result[self._confirm(result)]

    def draw_other(self, rng: np.random.RandomState, than: IntArray) -> IntArray | None:
        """A uniform draw (labels,) among the choices inside that are not ``than``; None if there is none."""
        if self._listed is not None:
            others = self._listed[(self._listed != than).any(axis=1)]
            return others[rng.randint(len(others))] if len(others) else None
        for _ in range(_PILOT):
            drawn = self.draw(rng, 1)[0]
            if (drawn != than).any():
                return drawn
        return None

    def draw(self, rng: np.random.RandomState, n: int) -> IntArray:
        """``n`` independent uniform draws: (n, labels). What is drawn follows from the state of ``rng`` alone."""
        if self._listed is not None:
            return self._listed[rng.randint(len(self._listed), size=n)]
        assert self._proposer is not None
        found = [np.empty((0, self._labels), dtype=np.int64)]
        missing = n
        while missing > 0:
            proposals = self._proposer.propose(rng, min(math.ceil(1.1 * missing / self._acceptance) + 3, 1 << 14))
            found.append(self._test(proposals)[:missing])
            missing -= len(found[-1])
        return np.concatenate(found)
