"""Paired differences, against SciPy's own test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from evaluators.measuring.statistics import holm, paired_difference


@pytest.mark.parametrize("n", [2, 3, 10])
def test_the_p_value_is_that_of_the_paired_t_test(n: int) -> None:
    rng = np.random.default_rng(n)
    first, second = rng.normal(0.90, 0.01, n), rng.normal(0.89, 0.01, n)
    own = paired_difference(dict(enumerate(first)), dict(enumerate(second)))
    test = stats.ttest_rel(first, second)
    assert own.p == pytest.approx(test.pvalue)
    assert own.summary.interval == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert own.summary.mean == pytest.approx(first.mean() - second.mean())


def test_only_common_seeds_count() -> None:
    own = paired_difference({0: 0.9, 1: 0.8, 7: 0.1}, {0: 0.8, 1: 0.6, 3: 0.9})
    assert (own.summary.n, own.summary.mean) == (2, pytest.approx(0.15))
    with pytest.raises(ValueError, match="in common"):
        paired_difference({0: 0.9}, {1: 0.9})


def test_one_seed_says_nothing_of_how_sure_it_is() -> None:
    own = paired_difference({0: 0.9}, {0: 0.8})
    assert (own.summary.std, own.summary.interval, own.p) == (None, None, None)


@pytest.mark.parametrize(("images", "p"), [(0, 1.0), (2, 0.25)])
def test_equal_differences_of_few_seeds_prove_nothing(images: int, p: float) -> None:
    second = {seed: right / 360 for seed, right in enumerate((350, 352, 340))}
    first = {seed: share + images / 360 for seed, share in second.items()}
    assert paired_difference(first, second).p == p


def test_holms_correction_is_that_of_the_textbook() -> None:
    # Holm 1979 steps down: 4 x 0.005, 3 x 0.01, 2 x 0.03, then never below an earlier one
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
