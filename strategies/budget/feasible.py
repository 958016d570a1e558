"""Exact answers about a space under a budget: does it hold any architecture, which is best, which is nearest, how many
are there, and draws among them that are exactly uniform."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from search_space.base.checks import check_int, check_share, unknown
from search_space.base.errors import InvalidRequest
from search_space.cost_table import CostTable
from strategies.budget.box import IntArray
from strategies.budget.budget import EXACT_METRICS, Budget, field_name, format_count
from strategies.budget.milp import IntegerProgram
from strategies.budget.sampler import WORK, BoxSampler, budget_sampler

Scores = Mapping[str, NDArray[np.floating]]

#: Additions for the tables of a mutation or cross-over, which are few labels or few candidates: some milliseconds.
_SMALL_WORK = 1e7


class FeasibleSet:
    """The architectures of ``table`` inside ``budget``; InvalidRequest, with the reachable range of each cost, if there
    are none. Whatever is random follows from the state of the generator that is passed alone."""

    def __init__(self, table: CostTable, budget: Budget) -> None:
        self.table = table
        self.budget = budget
        budget.check_metrics(table.metrics)
        self._check_ranges()
        self._program = IntegerProgram(table, budget)
        if budget.bounds() and not self._holds_any():
            raise InvalidRequest(
                f"budget: no architecture meets {budget} at once, though each bound can be met alone;"
                f" reachable: {format_ranges(table)}; loosen one bound"
            )

    def admits(self, sample: Mapping[str, str]) -> bool:
        """Whether the architecture of ``sample`` is inside the budget."""
        return self.budget.admits(self.table.cost(sample))

    def best(self, scores: Scores) -> dict[str, str]:
        """The sample inside the budget with the largest sum of ``scores[label][candidate]``: with log-probabilities,
        the most probable one."""
        return next(self.ranked(scores))

    def best_k(self, scores: Scores, k: int, *, apart: int = 1) -> list[dict[str, str]]:
        """The ``k`` samples inside the budget with the largest sums of scores, best first; fewer if there are no more.

        Each differs from all before it in ``apart`` labels at least.
        """
        check_int("k", k, 1)
        values = {label: np.asarray(scores[label], dtype=np.float64) for label in self.table.labels}
        candidates = self.table.candidates

        def total(sample: Mapping[str, str]) -> float:
            return math.fsum(own[candidates[label].index(sample[label])] for label, own in values.items())

        # sums that the solver cannot tell apart come in any order
        return sorted(islice(self.ranked(scores, apart=apart), k), key=total, reverse=True)

    def ranked(self, scores: Scores, *, apart: int = 1) -> Iterator[dict[str, str]]:
        """All samples inside the budget by their sum of ``scores[label][candidate]``, the largest first.

        Those that differ from an earlier one in fewer than ``apart`` labels are left out. Each is found exactly, when
        it is asked for; sums that differ by less than 1e-6, the solver's tolerance, may come in either order.
        """
        costs = self._minimised(scores)
        solutions: list[IntArray] = []
        while (solution := self._program.solve(costs, without=solutions, apart=apart)) is not None:
            solutions.append(solution)
            yield self.table.sample(solution)
        if not solutions:
            raise RuntimeError("the solver lost feasibility between two calls; please report this")

    def nearly_best(self, scores: Scores, *, gap: float, nodes: int) -> IntArray | None:
        """Candidates (labels,) of a sample whose sum of scores is within a share ``gap`` of the best one's; None if the
        solver has not found it after ``nodes`` of its search tree, the same on every machine."""
        try:
            return self._program.solve(self._minimised(scores), gap=gap, nodes=nodes)
        except TimeoutError:
            return None

    def _minimised(self, scores: Scores) -> NDArray[np.float64]:
        objective = np.concatenate([np.asarray(scores[label], dtype=np.float64) for label in self.table.labels])
        if not np.isfinite(objective).all():
            raise ValueError("scores: must be finite")
        return -objective

    def nearest(self, sample: Mapping[str, str], rng: np.random.RandomState) -> dict[str, str]:
        """The sample inside the budget that differs from ``sample`` in the fewest labels, ties broken at random."""
        return dict(sample) if self.admits(sample) else self.best(self.closeness(sample, rng))

    def closeness(self, sample: Mapping[str, str], rng: np.random.RandomState) -> dict[str, NDArray[np.float64]]:
        """Scores {label: (candidates,)} whose sum counts the labels equal to those of ``sample``, plus less than one
        half that breaks ties at random."""
        scores = {}
        for label, values in self.table.candidates.items():
            scores[label] = rng.uniform(0, 0.5 / len(self.table.labels), len(values))
            scores[label][values.index(sample[label])] += 1
        return scores

    @property
    def count(self) -> int:
        """Number of architectures inside, within a relative standard error of `count_error`."""
        return self._sampler.count if self.budget.bounds() else self.table.size

    @property
    def count_error(self) -> float:
        """0 if `count` is exact (above 2**53: to 1e-12), else its relative standard error."""
        return self._sampler.count_error if self.budget.bounds() else 0.0

    @property
    def share(self) -> float:
        """`count` as a share of the space."""
        return self.count / self.table.size

    def random(self, rng: np.random.RandomState) -> dict[str, str]:
        """A sample drawn uniformly from inside the budget."""
        return self.table.sample(self.sample_many(rng, 1)[0])

    def sample_many(self, rng: np.random.RandomState, n: int) -> IntArray:
        """``n`` independent uniform draws from inside the budget, as candidate indices (n, labels)."""
        return self._sampler.draw(rng, n)

    @property
    def listed(self) -> IntArray | None:
        """All architectures inside, as candidate indices (n, labels) in ascending order; None if they are many."""
        return None if self._sampler.listed is None else np.unique(self._sampler.listed, axis=0)

    def spread(self, rng: np.random.RandomState, n: int, metric: str = "macs") -> IntArray:
        """``n`` architectures inside the budget (n, labels) spread evenly over what they can cost, cheapest first: one
        drawn uniformly from each of ``n`` bins of equal width between the `extremes`. A bin that is empty, or too
        narrow to draw from, is widened around its middle, twofold each time, until it holds one."""
        check_int("n", n, 1)
        low, high = self.extremes(metric)
        result = []
        for i in range(n):
            middle, half = low + (high - low) * (i + 0.5) / n, (high - low) / n / 2
            while True:
                start, end = max(middle - half, low), min(middle + half, high)
                if isinstance(low, int):
                    start, end = math.ceil(start), math.floor(end)
                if start <= end:
                    with suppress(InvalidRequest):  # too narrow to draw from
                        sampler = budget_sampler(self.table, self.budget.bounded(metric, start, end), work=WORK / 10)
                        if sampler.count > 0:
                            break
                half = 2 * half if half else 1.0
            result.append(sampler.draw(rng, 1)[0])
        return np.stack(result)

    def extremes(self, metric: str) -> tuple[float, float]:
        """The smallest and the largest cost inside the budget, to 0.1% of the range of the space; int or float.

        Without that tolerance the largest below a bound is a subset-sum problem, and the solver could take for ever.
        """
        if metric not in self.table.metrics:
            raise unknown("metric", metric, self.table.metrics)
        own = [self.table.costs[metric][label] for label in self.table.labels]
        span = float(sum(values.max() - values.min() for values in own)) or 1.0
        ends = []
        for cheapest in (True, False):
            # the sum of these is 1 at the better end of the space, and 2 at the other
            rows = [(v - v.min() if cheapest else v.max() - v) / span + 1 / len(own) for v in own]
            end = self._program.solve(np.concatenate(rows).astype(np.float64), gap=1e-3)
            if end is None:
                raise RuntimeError("the solver lost feasibility between two calls; please report this")
            ends.append(self.table.evaluate(end[None], (metric,))[metric].item())
        return ends[0], ends[1]

    def top_part(self, share: float) -> FeasibleSet:
        """Those that use at least ``share`` (between 0 and 1) of the tightest upper bound: where searches look, and
        where fair random controls come from.

        The tightest bound is the one that the dearest architecture inside comes closest to. Where even that uses less,
        or nothing is bounded above, the share is of what it costs, so the part is never empty.
        """
        check_share("share", share)
        bounds = self.budget.bounds()
        upper = {metric: high for metric, (_, high) in bounds.items() if high is not None}
        metrics = list(upper) or ["macs" if "macs" in self.table.metrics else self.table.metrics[0]]
        largest = {metric: self.extremes(metric)[1] for metric in metrics}
        tightest = max(metrics, key=lambda metric: largest[metric] / upper[metric] if upper.get(metric) else 0.0)
        full = upper.get(tightest, largest[tightest])
        if largest[tightest] < share * full:
            full = largest[tightest]
        least = math.ceil(share * full) if tightest in EXACT_METRICS else share * full
        low, high = bounds.get(tightest, (None, None))
        return FeasibleSet(self.table, self.budget.bounded(tightest, least if low is None else max(low, least), high))

    def mutate(self, sample: Mapping[str, str], rng: np.random.RandomState, probability: float) -> dict[str, str]:
        """``sample``, which is inside, with some labels drawn anew; the result is inside and differs if it can.

        Each label is marked with ``probability``, one at least; all marked are drawn together, uniformly among what
        keeps the whole inside and is not ``sample``. Where there is nothing, one label more is marked, until there is.
        """
        own = self._inside(sample)
        order = rng.permutation(len(own))
        marked = rng.random_sample(len(own)) < probability
        order = np.concatenate([order[marked[order]], order[~marked[order]]])
        sizes = [len(values) for values in self.table.candidates.values()]
        for redrawn in range(max(1, int(marked.sum())), len(own) + 1):
            free = np.isin(np.arange(len(own)), order[:redrawn])
            choices = [np.arange(sizes[i]) if free[i] else own[i : i + 1] for i in range(len(own))]
            drawn = budget_sampler(self.table, self.budget, choices, _SMALL_WORK).draw_other(rng, own * free)
            if drawn is not None:
                return self.table.sample(np.where(free, drawn, own))
        return dict(sample)

    def crossover(
        self, first: Mapping[str, str], second: Mapping[str, str], rng: np.random.RandomState
    ) -> dict[str, str]:
        """Each label from one of two samples that are inside: uniform among all such mixes that are inside."""
        pairs = zip(self._inside(first), self._inside(second), strict=True)
        choices = [np.unique(pair) for pair in pairs]
        drawn = budget_sampler(self.table, self.budget, choices, _SMALL_WORK).draw(rng, 1)[0]
        return self.table.sample(np.array([c[i] for c, i in zip(choices, drawn, strict=True)]))

    @cached_property
    def _sampler(self) -> BoxSampler:
        return budget_sampler(self.table, self.budget)

    def _holds_any(self) -> bool:
        nothing = np.zeros(sum(map(len, self.table.candidates.values())))
        try:
            return self._program.solve(nothing, seconds=2.0) is not None
        except TimeoutError:  # narrow windows are hard for the solver and easy to count
            return self._sampler.count > 0

    def _inside(self, sample: Mapping[str, str]) -> IntArray:
        if not self.admits(sample):
            raise InvalidRequest(
                f"sample: costs {self.table.cost(sample)}, outside {self.budget}; replace it by `nearest` of it first"
            )
        return self.table.indices(sample)

    def _check_ranges(self) -> None:
        reachable = self.table.reachable()
        remedy = f"reachable: {format_ranges(self.table)}"
        for metric, (low, high) in self.budget.bounds().items():
            smallest, largest = reachable[metric]
            if high is not None and not Budget().bounded(metric, None, high).admits({metric: smallest}):
                raise InvalidRequest(
                    f"{field_name('max', metric)}: {high:,} is below the smallest architecture ({smallest:,}); {remedy}"
                )
            if low is not None and not Budget().bounded(metric, low, None).admits({metric: largest}):
                raise InvalidRequest(
                    f"{field_name('min', metric)}: {low:,} is above the largest architecture ({largest:,}); {remedy}"
                )


def format_ranges(table: CostTable) -> str:
    """``"macs 2.29M to 59.00M, params 661.42k to 2.39M"``."""
    return ", ".join(
        f"{metric} {format_count(low)} to {format_count(high)}" for metric, (low, high) in table.reachable().items()
    )
