"""Kendall's tau between a supernet and stand-alone trainings: the figure, its bootstrap, what it is compared with."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import kendalltau

from evaluators.measuring.ranking import LEAST, kendall, rank_agreement, tau_estimate, top_share
from search_space.base.errors import InvalidRequest

Floats = np.ndarray


def normal(rng: np.random.Generator, n: int, rho: float) -> tuple[Floats, Floats]:
    """``n`` draws of two normal variables with correlation ``rho``: their tau is 2 / pi * asin(rho) (Greiner)."""
    first = rng.standard_normal(n)
    return first, rho * first + math.sqrt(1 - rho**2) * rng.standard_normal(n)


def by_pairs(first: Floats, second: Floats) -> float:
    """tau-b by its definition (Kendall 1945), pair after pair."""
    agree, untied_first, untied_second = Fraction(0), 0, 0
    for i, j in combinations(range(len(first)), 2):
        signs = [int(np.sign(values[i] - values[j])) for values in (first, second)]
        agree += signs[0] * signs[1]
        untied_first += signs[0] != 0
        untied_second += signs[1] != 0
    return float(agree) / math.sqrt(untied_first * untied_second)


# --- tau ---


def test_tau_is_the_published_figure() -> None:
    # the example of SciPy's own documentation, which has ties in both
    tau = kendall(np.array([12.0, 2, 1, 12, 2]), np.array([1.0, 4, 7, 1, 0]))
    assert tau == pytest.approx(-0.47140452079103173, abs=1e-12)


def test_tau_with_ties_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        first, second = rng.integers(0, 5, (2, 12)).astype(float)
        assert kendall(first, second) == pytest.approx(by_pairs(first, second), abs=1e-12)


def test_tau_is_undefined_where_all_values_are_equal() -> None:
    values = np.arange(6.0)
    assert kendall(np.ones(6), values) is None
    assert kendall(values, np.ones(6)) is None
    assert tau_estimate([(values, np.ones(6))]).value is None


@pytest.mark.parametrize("sign", [1, -1])
def test_a_perfect_and_a_reversed_ranking(sign: int) -> None:
    values = np.arange(10.0)
    estimate = tau_estimate([(values, sign * values**3)])
    assert estimate.value == pytest.approx(sign)
    assert estimate.interval == pytest.approx((sign, sign))
    assert estimate.n == 10


# --- the bootstrap ---


def test_the_interval_is_that_of_scipy_on_every_resample() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.integers(0, 6, (2, 15)).astype(float)
    estimate = tau_estimate([(first, second)], seed=9, resamples=300)
    counts = np.random.default_rng(9).multinomial(15, np.full(15, 1 / 15), size=300)
    drawn = [kendalltau(np.repeat(first, times), np.repeat(second, times)).statistic for times in counts]
    assert estimate.interval == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=1e-12)
    assert estimate.resamples == 300


def test_the_seed_decides_the_interval() -> None:
    pair = normal(np.random.default_rng(1), 20, 0.5)
    assert tau_estimate([pair], seed=1) == tau_estimate([pair], seed=1)
    assert tau_estimate([pair], seed=1).interval != tau_estimate([pair], seed=2).interval


@pytest.mark.parametrize(("n", "rho"), [(30, 0.0), (30, 0.7), (10, 0.5)])
def test_the_interval_covers_the_true_tau_as_often_as_it_says(n: int, rho: float) -> None:
    rng = np.random.default_rng(3)
    true = 2 / math.pi * math.asin(rho)
    covered = 0
    for seed in range(400):
        interval = tau_estimate([normal(rng, n, rho)], seed=seed, resamples=300).interval
        assert interval is not None
        covered += interval[0] <= true <= interval[1]
    # 95 % of 400, give or take 3 standard errors (1.1 points each) and what a percentile bootstrap is off
    assert 0.91 <= covered / 400 <= 0.99


def test_a_difference_is_paired() -> None:
    first, truth = normal(np.random.default_rng(2), 30, 0.5)
    same = tau_estimate([(first, truth)], less=[(first, truth)])
    assert (same.value, same.interval) == (0, (0, 0))
    # two measures that differ in one pair alone: far closer than two independent taus would tell
    other = first.copy()
    order = np.argsort(first)
    other[order[[10, 11]]] = first[order[[11, 10]]]
    close = tau_estimate([(first, truth)], less=[(other, truth)])
    alone = tau_estimate([(first, truth)])
    assert close.value == pytest.approx(kendall(first, truth) - kendall(other, truth))  # type: ignore[operator]
    assert abs(close.value or 1) == pytest.approx(2 / math.comb(30, 2))
    assert close.interval is not None
    assert alone.interval is not None
    assert close.interval[1] - close.interval[0] < (alone.interval[1] - alone.interval[0]) / 10


def test_below_five_architectures_there_is_no_tau() -> None:
    assert LEAST == 5
    assert tau_estimate([(np.arange(5.0), np.arange(5.0))]).value == pytest.approx(1)
    four = tau_estimate([(np.arange(4.0), np.arange(4.0))])
    assert (four.value, four.interval, four.n) == (None, None, 4)


def test_one_architecture_that_differs_gives_a_tau_but_few_resamples() -> None:
    lone = np.eye(8)[0]
    estimate = tau_estimate([(lone, lone)], resamples=4000)
    # a resample without it is all equal; it is in one with probability 1 - (1 - 1/8)^8
    assert estimate.value == pytest.approx(1)
    assert estimate.resamples / 4000 == pytest.approx(1 - (7 / 8) ** 8, abs=0.03)


# --- all figures ---


def test_the_top_is_a_fifth_rounded_up_and_who_ties_with_its_last() -> None:
    assert top_share(np.arange(30.0)).sum() == 6
    assert top_share(np.arange(21.0)).sum() == 5
    assert np.flatnonzero(top_share(np.array([5.0, 4, 4, 4, 3, 2, 1, 0, 0, 0]))).tolist() == [0, 1, 2, 3]


def test_figures_of_a_case_done_by_hand() -> None:
    # stand-alone means .1 .2 .3 .4 .5; the supernet swaps the first two; seed 1 swaps the last two
    supernet = [0.2, 0.1, 0.3, 0.4, 0.5]
    trainings = [[0.1, 0.1], [0.2, 0.2], [0.3, 0.3], [0.35, 0.45], [0.6, 0.4]]
    found = rank_agreement(supernet, trainings, {"macs": [5, 4, 3, 2, 1], "params": [1, 2, 3, 4, 5]}, resamples=200)
    assert found.n == 5
    assert found.predicted.value == pytest.approx(0.8)  # 9 of 10 pairs
    assert found.ceiling is not None
    assert found.ceiling.value == pytest.approx(0.8)
    assert found.single is not None
    assert found.single.value == pytest.approx((0.8 + 0.6) / 2)
    assert found.below_ceiling is not None
    assert found.below_ceiling.value == pytest.approx(0.1)
    assert {name: own.value for name, own in found.costs.items()} == pytest.approx({"macs": -1, "params": 1})
    # sorting by MACs, cheapest first, is perfect as well
    assert {name: own.value for name, own in found.over_costs.items()} == pytest.approx({"macs": -0.2, "params": -0.2})
    assert found.accuracies == pytest.approx((0.1, 0.5))
    # variances 0, 0, 0, .005 and .02
    assert found.noise == pytest.approx(math.sqrt(0.005))
    assert (found.top.value, found.top.n) == (None, 1)
    assert not found.all_equal


def test_seeds_that_some_architectures_lack_count_for_the_others() -> None:
    nan = math.nan
    trainings = [[0.1, nan], [0.2, 0.2], [0.3, 0.3], [0.4, 0.5], [0.45, 0.4], [0.5, 0.7], [nan, 0.8]]
    found = rank_agreement(np.arange(7.0), trainings, {"macs": np.arange(7.0)}, resamples=50)
    # means .1 .2 .3 .45 .425 .6 .8: one pair of 21 is in the other order
    assert (found.n, found.predicted.value) == (7, pytest.approx(1 - 2 / 21))
    assert found.ceiling is not None
    assert (found.ceiling.n, found.ceiling.value) == (5, pytest.approx(0.8))


def test_one_seed_has_no_ceiling() -> None:
    found = rank_agreement(np.arange(6.0), np.arange(6.0)[:, None], {"macs": np.arange(6.0)}, resamples=50)
    assert found.predicted.value == pytest.approx(1)
    assert (found.ceiling, found.single, found.below_ceiling, found.noise) == (None, None, None, None)


def test_equal_means_tie_whatever_their_last_digits() -> None:
    assert (0.1 + 0.2) / 2 != 0.15
    trainings = [[0.1, 0.2], [0.15, 0.15], [0.05, 0.25], [0.3, 0.0], [0.0, 0.3]]
    found = rank_agreement(np.arange(5.0), trainings, {"macs": np.arange(5.0)}, resamples=50)
    assert found.predicted.value is None


def test_another_training_is_level_with_the_ceiling_and_noise_is_not() -> None:
    rng = np.random.default_rng(4)
    quality = rng.standard_normal(40)
    trainings = quality[:, None] + 0.5 * rng.standard_normal((40, 2))
    costs = {"macs": rng.standard_normal(40)}
    third = rank_agreement(quality + 0.5 * rng.standard_normal(40), trainings, costs)
    assert third.below_ceiling is not None
    assert third.below_ceiling.interval is not None
    assert third.below_ceiling.interval[0] < 0 < third.below_ceiling.interval[1]
    assert (third.over_costs["macs"].interval or (0, 0))[0] > 0
    noise = rank_agreement(rng.standard_normal(40), trainings, costs)
    assert noise.predicted.interval is not None
    assert noise.predicted.interval[0] < 0 < noise.predicted.interval[1]
    assert noise.below_ceiling is not None
    assert (noise.below_ceiling.interval or (0, 0))[0] > 0


@pytest.mark.parametrize(
    ("supernet", "standalone", "macs", "text"),
    [
        ([1, 2], [1, 2], [1, 2], "standalone: shape (2,) is not (architectures, seeds) with one at least"),
        ([], np.zeros((0, 2)), [], "standalone: shape (0, 2) is not (architectures, seeds) with one at least"),
        ([1], [[1], [2]], [1, 2], "predicted: shape (1,) is not (2,), one value per architecture"),
        ([1, 2], [[1], [2]], [1], "macs: shape (1,) is not (2,), one value per architecture"),
        (
            [1, 2],
            [[1], [np.nan]],
            [1, 2],
            "standalone: an architecture has no finite number; leave it out",
        ),
    ],
)
def test_wrong_figures_are_refused(supernet: object, standalone: object, macs: object, text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        rank_agreement(supernet, standalone, {"macs": macs})  # type: ignore[arg-type, dict-item]
    assert str(refused.value) == text
