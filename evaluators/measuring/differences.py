"""How much better one network is than another, trained with the same seeds, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy.stats import t as student_t

from evaluators.measuring.statistics import Summary, summarise


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


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
    """The difference of two networks' accuracies, paired by seed.

    Args:
        first: accuracies by seed.
        second: likewise; of a group of networks, their mean for each seed.

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
