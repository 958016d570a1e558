"""What several trainings say together: mean, spread and confidence, of one network or of the difference of two."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import t as student_t

from search_space.base.errors import InvalidRequest


@dataclass(frozen=True)
class Summary:
    """Figures of ``n`` trainings.

    Attributes:
        n: how many.
        mean: their mean.
        std: sample standard deviation (n - 1); None for one training.
        interval: (low, high), which covers the true mean with probability 0.95 if the figures are normally distributed
            (Student's t); None for one training.
    """

    n: int
    mean: float
    std: float | None
    interval: tuple[float, float] | None


def summarise(values: Sequence[float], *, least: float = -math.inf, most: float = math.inf) -> Summary:
    """Mean, standard deviation and confidence interval of ``values``; InvalidRequest if there is none.

    The interval ends at ``least`` and ``most``, beyond which no value can be: 0 and 1 for accuracies.
    """
    if not values:
        raise InvalidRequest("values: empty; summarise at least one figure")
    n, mean = len(values), fmean(values)
    if n == 1:
        return Summary(n, mean, None, None)
    std = stdev(values)
    half = float(student_t.ppf(0.975, n - 1)) * std / math.sqrt(n)
    return Summary(n, mean, std, (max(least, mean - half), min(most, mean + half)))


@dataclass(frozen=True)
class Difference:
    """The difference of two networks' accuracies over the seeds that both were trained with.

    Attributes:
        summary: mean (positive where the first network is better), standard deviation and interval over the seeds.
        p: of the two-sided paired t-test that the mean is 0, or of the sign test if all differences are equal; None for
            one seed.
    """

    summary: Summary
    p: float | None


def holm(probabilities: Sequence[float]) -> list[float]:
    """The p of several tests, each corrected for there being several (Holm 1979), in their order.

    Whoever takes those below 0.05 for real is wrong about one of them or more in at most 5 % of cases.
    """
    corrected, least = [0.0] * len(probabilities), 0.0
    for rank, index in enumerate(sorted(range(len(probabilities)), key=probabilities.__getitem__)):
        least = max(least, min(1.0, (len(probabilities) - rank) * probabilities[index]))
        corrected[index] = least
    return corrected


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
    """The difference of two networks' accuracies by seed; of a group of networks, give their mean for each seed.

    Raises:
        ValueError: the two have no seed in common.
    """
    seeds = sorted(set(first) & set(second))
    if not seeds:
        raise ValueError("seeds: the two networks have none in common")
    summary = summarise([first[seed] - second[seed] for seed in seeds])
    if summary.std is None:
        return Difference(summary, None)
    if summary.std < 1e-9:
        # accuracies are steps of one image, so few seeds can well differ equally by chance: the sign test's p
        return Difference(summary, 1.0 if abs(summary.mean) < 1e-9 else 2.0 ** (1 - summary.n))
    statistic = abs(summary.mean) / (summary.std / math.sqrt(summary.n))
    return Difference(summary, float(2 * student_t.sf(statistic, summary.n - 1)))
