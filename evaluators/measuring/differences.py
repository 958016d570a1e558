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
        p: of the two-sided paired t-test that the mean is 0; None for one seed.
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
    if summary.std == 0:  # equal differences are as sure as can be; the test would divide by 0
        return Difference(summary, float(summary.mean == 0))
    statistic = abs(summary.mean) / (summary.std / math.sqrt(summary.n))
    return Difference(summary, float(2 * student_t.sf(statistic, summary.n - 1)))
