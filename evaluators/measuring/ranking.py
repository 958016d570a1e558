"""How well one measure ranks architectures as another does: Kendall's tau, and how sure it is.

Kendall's tau is the share of pairs that both measures put in the same order, less the share in opposite order; its form
b, used here, corrects for ties. Two architectures whose accuracies differ by less than those of two trainings come in
either order by chance, so within a narrow range of accuracy (the top fifth, a tight budget) tau falls however good the
measure is. Hence the interval, and the noise ceiling: the tau that a second training, by another seed, reaches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau

from search_space.base.errors import InvalidRequest

Values = NDArray[np.float64]
Pair = tuple[Values, Values]

#: Below so many architectures no tau is given.
LEAST = 5
#: Share of the architectures that are "the top".
TOP = 0.2
RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A tau, or a difference of two, over ``n`` architectures.

    Attributes:
        value: None where it is undefined: fewer than `LEAST` architectures, or all of them equal in one measure.
        interval: (low, high), the 95 % percentile bootstrap over architectures. None with ``value``, or where most
            resamples leave it undefined. Simulated, it covers the true tau in 94 to 98 % of cases from 10 architectures
            on, and of 6 in 90 % where agreement is strong; where all pairs agree it has no width.
        resamples: those that gave a value.
    """

    value: float | None
    interval: tuple[float, float] | None
    n: int
    resamples: int


@dataclass(frozen=True)
class Ranking:
    """How well predictions, and costs alone, rank architectures by their stand-alone accuracy, the mean over the seeds.

    Attributes:
        n: architectures.
        predicted: tau of the predictions.
        top: likewise within the top fifth by stand-alone accuracy, and those that tie with its last.
        costs: tau of each cost, more being better.
        over_costs: tau of the predictions less that of sorting by each cost, dearest first or cheapest first, whichever
            agrees better; the interval is of the paired difference.
        ceiling: tau between trainings by two seeds, the mean over all pairs of seeds, over the architectures that were
            trained with all of them; None for one seed.
        single: tau of the predictions against the trainings of one seed, the mean over seeds: what compares with the
            ceiling; None for one seed.
        below_ceiling: ceiling less ``single``; the interval is of the paired difference; None for one seed.
        accuracies: (lowest, highest) stand-alone accuracy.
        noise: standard deviation over seeds of one architecture's accuracy, pooled over architectures; None for one
            seed.
        all_equal: the predictions are the same for all architectures.
    """

    n: int
    predicted: Estimate
    top: Estimate
    costs: dict[str, Estimate]
    over_costs: dict[str, Estimate]
    ceiling: Estimate | None
    single: Estimate | None
    below_ceiling: Estimate | None
    accuracies: tuple[float, float]
    noise: float | None
    all_equal: bool


def rank_agreement(
    predicted: ArrayLike,
    standalone: ArrayLike,
    costs: Mapping[str, ArrayLike],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Ranking:
    """All figures of ``n`` architectures: ``predicted`` (n,), ``standalone`` (n, seeds), each of ``costs`` (n,).

    NaN in ``standalone`` stands for a training that was not made; each architecture needs one at least. Values tie if
    they are equal to 1e-6. Resampling follows from ``seed``. InvalidRequest for other shapes and infinite numbers.
    """
    # means of the same counts of right answers differ in their last digits
    guesses: Values = np.asarray(predicted, dtype=np.float64).round(6)
    trained: Values = np.asarray(standalone, dtype=np.float64).round(6)
    by_cost: dict[str, Values] = {name: np.asarray(values, dtype=np.float64) for name, values in costs.items()}
    if trained.ndim != 2 or 0 in trained.shape:
        raise InvalidRequest(f"standalone: shape {trained.shape} is not (architectures, seeds) with one at least")
    n = len(trained)
    made = np.isfinite(trained)
    one_each: dict[str, Values] = {"predicted": guesses, **by_cost}
    for name, values in one_each.items():
        if values.shape != (n,):
            raise InvalidRequest(f"{name}: shape {values.shape} is not ({n},), one value per architecture")
        if not np.isfinite(values).all():
            raise InvalidRequest(f"{name}: holds a number that is not finite; leave these architectures out")
    if np.isinf(trained).any() or not made.any(axis=1).all():
        raise InvalidRequest("standalone: an architecture has no finite number; leave it out")
    mean: Values = np.asarray(np.nanmean(trained, axis=1)).round(6)
    whole = made.all(axis=1)
    seeds = [np.ascontiguousarray(column) for column in trained[whole].T]
    several = len(seeds) > 1 and whole.sum() > 1
    own = [(guesses, mean)]
    seed_pairs = list(combinations(seeds, 2))
    singles = [(guesses[whole], column) for column in seeds]

    def tau(pairs: list[Pair], less: Sequence[Pair] = ()) -> Estimate:
        return tau_estimate(pairs, less, seed=seed, resamples=resamples)

    top = top_share(mean)
    taus = {name: tau([(values, mean)]) for name, values in by_cost.items()}
    # whoever sorts by cost knows which way after a few trainings
    sorted_by = {name: -values if (taus[name].value or 0) < 0 else values for name, values in by_cost.items()}
    return Ranking(
        n=n,
        predicted=tau(own),
        top=tau([(guesses[top], mean[top])]),
        costs=taus,
        over_costs={name: tau(own, less=[(values, mean)]) for name, values in sorted_by.items()},
        ceiling=tau(seed_pairs) if several else None,
        single=tau(singles) if several else None,
        below_ceiling=tau(seed_pairs, less=singles) if several else None,
        accuracies=(float(mean.min()), float(mean.max())),
        noise=math.sqrt(float(trained[whole].var(axis=1, ddof=1).mean())) if several else None,
        all_equal=bool(np.ptp(guesses) == 0),
    )


def top_share(values: Values) -> NDArray[np.bool_]:
    """Which of ``values`` (n,) are among the largest share `TOP`, rounded up, or tie with the last of these."""
    count = math.ceil(TOP * len(values) - 1e-9)
    return values >= np.sort(values)[-count]


def kendall(first: Values, second: Values) -> float | None:
    """Kendall's tau-b of two measures (n,); None where all values of one are equal, as tau is undefined then."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(kendalltau(first, second).statistic)


def tau_estimate(
    pairs: Sequence[Pair], less: Sequence[Pair] = (), *, seed: int = 0, resamples: int = RESAMPLES
) -> Estimate:
    """Mean tau of ``pairs`` of measures (n,), less the mean tau of the pairs ``less``, with its interval.

    All measures are of the same architectures, which are resampled together: the difference is a paired one. A resample
    repeats architectures; a repeated one ties with itself in both measures, which tau-b leaves out of account.
    """
    n = len(pairs[0][0])
    exact = [kendall(*pair) for pair in pairs], [kendall(*pair) for pair in less]
    known = [[value for value in values if value is not None] for values in exact]
    if n < LEAST or not all(len(given) == len(values) for given, values in zip(known, exact, strict=True)):
        return Estimate(None, None, n, 0)
    value = float(np.mean(known[0])) - (float(np.mean(known[1])) if less else 0.0)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    drawn = np.mean([_weighted_taus(*pair, counts) for pair in pairs], axis=0)
    if less:
        drawn = drawn - np.mean([_weighted_taus(*pair, counts) for pair in less], axis=0)
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < resamples / 2:
        return Estimate(value, None, n, len(drawn))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(value, (float(low), float(high)), n, len(drawn))


def _weighted_taus(first: Values, second: Values, counts: Values) -> Values:
    """tau-b (b,) of the resamples in which architecture i stands ``counts[:, i]`` times; NaN where it is undefined.

    Concordant less discordant pairs, and pairs not tied in one measure, are quadratic forms of the counts.
    """
    signs = [np.sign(values[:, None] - values[None, :]) for values in (first, second)]

    def pairs(of: Values) -> Values:
        return ((counts @ of) * counts).sum(axis=1)

    untied = pairs(np.abs(signs[0])) * pairs(np.abs(signs[1]))
    taus = np.full(len(counts), np.nan)
    np.divide(pairs(signs[0] * signs[1]), np.sqrt(untied), out=taus, where=untied > 0)
    return taus
