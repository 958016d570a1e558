"""What several trainings say together: mean, spread and confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import t as student_t

from search_space.base.checks import check_share
from search_space.base.errors import InvalidRequest


@dataclass(frozen=True)
class Summary:
    """Figures of ``n`` trainings.

    Attributes:
        n: how many.
        mean: their mean.
        std: sample standard deviation (n - 1); None for one training.
        interval: (low, high), which covers the true mean with probability ``confidence`` if the figures are normally
            distributed (Student's t); None for one training.
        confidence: of the interval.
    """

    n: int
    mean: float
    std: float | None
    interval: tuple[float, float] | None
    confidence: float = 0.95


def summarise(
    values: Sequence[float], confidence: float = 0.95, *, least: float = -math.inf, most: float = math.inf
) -> Summary:
    """Mean, standard deviation and confidence interval of ``values``; InvalidRequest if there is none.

    The interval ends at ``least`` and ``most``, beyond which no value can be: 0 and 1 for accuracies.
    """
    if not values:
        raise InvalidRequest("values: empty; summarise at least one figure")
    check_share("confidence", confidence)
    n, mean = len(values), fmean(values)
    if n == 1:
        return Summary(n, mean, None, None, confidence)
    std = stdev(values)
    half = float(student_t.ppf((1 + confidence) / 2, n - 1)) * std / math.sqrt(n)
    return Summary(n, mean, std, (max(least, mean - half), min(most, mean + half)), confidence)
