"""Counting and drawing, uniformly, the architectures whose costs lie inside bounds.

Such architectures may be one in a million or fewer, so they are counted, not tried out (Dyer 2003, "Approximate
counting by dynamic programming"):

1. What cannot matter is left out (`reduce_box`).
2. Each cost is rounded *down* to whole steps. Dynamic programming over the labels counts the choices that reach each
   vector of rounded totals (`Grid`). The bounds are widened by the most that rounding can take away, so that they hold
   every choice inside.
3. A draw picks a rounded total by its count and walks back through the tables, which is uniform over the widened
   bounds. A choice whose exact costs are outside is dropped and drawn again, so what remains is *exactly* uniform.

With steps of 1 the count is exact and nothing is dropped. Otherwise the share that is dropped depends on the width of
a step against that of the window, not on the share of the space that is inside. Few choices (`LISTED`) are listed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from search_space.base.errors import InvalidRequest
from search_space.cost_table import CostTable
from strategies.budget.box import Box, IntArray, combinations, reduce_box
from strategies.budget.budget import SLACK, Budget
from strategies.budget.grid import Grid, choose_steps

#: Additions that filling the tables may take: about half a second's worth, and as much memory as 100 MB.
WORK = 3e8
#: Sets up to this size are listed.
LISTED = 100_000
#: Proposals by which the share that survives the exact test is estimated.
_PILOT = 4096
#: Share of a grid's proposals that must be inside, or a finer one is made.
_ENOUGH = 0.05
#: A bound that excludes nothing: no sum of costs comes near, and differences of two still fit 64 bits.
_OPEN = 2**61
#: A cost that is not a whole number is counted in so many parts of the metric's range, rounded down.
_PARTS = 2**40


class BoxSampler:
    """Uniform draws among the choices of ``costs`` whose totals lie from ``low`` to ``high``, both ends included.

    Args:
        costs: for each label the costs of its candidates, whole numbers of shape (candidates, metrics).
        low, high: shape (metrics,): bounds on the totals.
        confirm: choices (n, labels) -> (n,), whether they are truly inside; for costs and bounds that are rounded.
        work: additions that the tables may take.

    Attributes:
        listed: all choices inside (n, labels) if they are few, else None.
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
        self.listed: IntArray | None = None
        box = reduce_box(costs, low, high)
        if box is None:
            self.listed = np.empty((0, len(costs)), dtype=np.int64)
            return
        # labels with a short range come first, as their tables are small
        self._order = np.argsort([float((own.max(axis=0) / np.maximum(box.high, 1)).sum()) for own in box.costs])
        self._box = box = box.reordered(self._order)
        sizes = [len(kept) for kept in box.kept]
        if math.prod(sizes) <= LISTED // 10:
            self.listed = self._test(combinations(sizes))
            return
        # more additions than there are choices are of no use
        for additions in (min(work, 2 * math.prod(sizes)), max(3 * work, WORK)):
            self._grid = Grid(box, choose_steps(box, _scale(box), additions))
            if self._grid.count <= LISTED:
                self.listed = self._test(self._grid.enumerate())
                return
            self._exact = self._grid.exact and confirm is None
            pilot = self._grid.propose(np.random.RandomState(0), _PILOT)
            self._acceptance = 1.0 if self._exact else len(self._test(pilot)) / _PILOT
            if self._acceptance >= _ENOUGH:
                return
        if self._acceptance == 0:
            raise InvalidRequest(
                "budget: its bounds leave so narrow a window that architectures inside cannot be drawn evenly; widen it"
            )

    @property
    def count(self) -> int:
        """Number of choices inside, within a relative standard error of `count_error`."""
        if self.listed is not None:
            return len(self.listed)
        return self._grid.count if self._acceptance == 1 else round(Fraction(self._acceptance) * self._grid.count)

    @property
    def count_error(self) -> float:
        """0 if `count` is exact up to the rounding of float64 (1e-12), else its relative standard error."""
        if self.listed is not None or self._exact:
            return 0.0
        dropped = max(1 - self._acceptance, 1 / _PILOT)
        return math.sqrt(dropped / (self._acceptance * _PILOT))

    def _test(self, choices: IntArray) -> IntArray:
        """Those of the choices, as the box numbers them, that are inside, as the caller numbers them."""
        choices = choices[self._box.holds(choices)]
        result = np.empty_like(choices)
        for column, label in enumerate(self._order):
            result[:, label] = self._box.kept[column][choices[:, column]]
        return result if self._confirm is None else result[self._confirm(result)]

    def draw_other(self, rng: np.random.RandomState, than: IntArray) -> IntArray | None:
        """A uniform draw (labels,) among the choices inside that are not ``than``; None if there is none."""
        if self.listed is not None:
            others = self.listed[(self.listed != than).any(axis=1)]
            return others[rng.randint(len(others))] if len(others) else None
        for _ in range(_PILOT):
            drawn = self.draw(rng, 1)[0]
            if (drawn != than).any():
                return drawn
        return None

    def draw(self, rng: np.random.RandomState, n: int) -> IntArray:
        """``n`` independent uniform draws: (n, labels). What is drawn follows from the state of ``rng`` alone."""
        if self.listed is not None:
            return self.listed[rng.randint(len(self.listed), size=n)]
        drawn = [np.empty((0, len(self._order)), dtype=np.int64)]
        missing = n
        while missing > 0:
            proposals = self._grid.propose(rng, min(math.ceil(1.1 * missing / self._acceptance) + 3, 1 << 14))
            drawn.append(self._test(proposals)[:missing])
            missing -= len(drawn[-1])
        return np.concatenate(drawn)


def _scale(box: Box) -> NDArray[np.float64]:
    """How wide the steps of each metric (metrics,) may be, relative to each other, for all to drop alike: as the
    window. Most choices of a wide window are right below its upper end, in a part about as wide as what one label
    adds."""
    high = np.maximum(box.high, 1).astype(np.float64)
    share = np.minimum((box.high - box.low + 1) / high, 1 / len(box.costs))
    return high * (share / share.max())


def budget_sampler(
    table: CostTable, budget: Budget, choices: Sequence[IntArray] | None = None, work: float = WORK
) -> BoxSampler:
    """A sampler of the candidate indices (n, labels) of architectures inside ``budget``.

    With ``choices`` label i may take the candidates ``choices[i]`` only, and the sampler gives positions in these.
    """
    costs, low, high, exact = _integer_costs(table, budget)
    if choices is not None:
        costs = [per_candidate[own] for per_candidate, own in zip(costs, choices, strict=True)]

    def confirm(drawn: IntArray) -> NDArray[np.bool_]:
        if choices is not None:
            drawn = np.stack([own[drawn[:, i]] for i, own in enumerate(choices)], axis=1)
        return budget.inside(table.evaluate(drawn, budget.bounds()))

    return BoxSampler(costs, low, high, confirm=None if exact else confirm, work=work)


def _integer_costs(table: CostTable, budget: Budget) -> tuple[list[IntArray], IntArray, IntArray, bool]:
    """The bounded costs in whole numbers: of each label (candidates, metrics), the bounds (metrics,) on their totals,
    and whether these are exact. Other costs are rounded down and their bounds widened by what that takes away."""
    columns, lows, highs, exact = [], [], [], True
    for metric, (low, high) in budget.bounds().items():
        own = [table.costs[metric][label] for label in table.labels]
        if all(np.issubdtype(values.dtype, np.integer) for values in own):
            fixed = table.fixed[metric]
            columns.append(own)
            lows.append(-_OPEN if low is None else int(low) - fixed)
            highs.append(_OPEN if high is None else int(high) - fixed)
            continue
        exact = False
        least = [float(values.min()) for values in own]
        unit = (sum(float(values.max()) for values in own) - sum(least)) / _PARTS or 1.0
        base = table.fixed[metric] + sum(least)
        columns.append([((v - m) / unit).astype(np.int64) for v, m in zip(own, least, strict=True)])
        # each label loses less than one unit, and the arithmetic here far less than another
        ends = [-np.inf if low is None else low * (1 - SLACK), np.inf if high is None else high * (1 + SLACK)]
        start, end = (math.floor(np.clip((end - base) / unit, -_OPEN, _OPEN)) for end in ends)
        lows.append(start - 2 * len(own) - 2)
        highs.append(end + 2)
    costs = [
        np.stack([column[i] for column in columns], axis=1) if columns else np.empty((len(values), 0), dtype=np.int64)
        for i, values in enumerate(table.candidates.values())
    ]
    return costs, np.array(lows, dtype=np.int64), np.array(highs, dtype=np.int64), exact
