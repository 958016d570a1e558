"""Counting and uniform draws against brute force."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare

from strategies.budget import sampler as counting
from strategies.budget.box import reduce_box
from strategies.budget.grid import Grid, choose_steps
from strategies.budget.sampler import BoxSampler

IntArray = NDArray[np.int64]
Draw = Callable[[np.random.RandomState, int], IntArray]

OPEN = 2**60


def random_costs(seed: int, labels: int, candidates: int, metrics: int, largest: int) -> list[IntArray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, largest, (candidates, metrics)) for _ in range(labels)]


def all_inside(costs: list[IntArray], low: IntArray, high: IntArray) -> IntArray:
    """Every choice inside, by trying all."""
    choices = np.array(list(itertools.product(*(range(len(own)) for own in costs))))
    totals = sum(own[choices[:, i]] for i, own in enumerate(costs))
    return choices[((totals >= low) & (totals <= high)).all(axis=1)]


def uniformity(draw: Draw, inside: IntArray, sizes: list[int], n: int) -> float:
    """p of the hypothesis that ``draw`` is uniform over ``inside``; 0 if it leaves it."""
    drawn = np.ravel_multi_index(tuple(draw(np.random.RandomState(0), n).T), sizes)
    codes = np.ravel_multi_index(tuple(inside.T), sizes)
    if not np.isin(drawn, codes).all():
        return 0.0
    seen = np.bincount(np.searchsorted(codes, drawn), minlength=len(codes))
    return float(chisquare(seen).pvalue)


@pytest.fixture
def never_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw small sets from tables, as large ones are."""
    monkeypatch.setattr(counting, "LISTED", 0)


def random_box(rng: np.random.Generator, costs: list[IntArray]) -> tuple[IntArray, IntArray]:
    """Bounds that hold at least one choice, some of them open."""
    metrics = costs[0].shape[1]
    one = sum(own[rng.integers(len(own))] for own in costs)
    spread = sum(own.max(axis=0) for own in costs)
    low = np.where(rng.random(metrics) < 0.5, -OPEN, one - (rng.random(metrics) * spread / 8).astype(int))
    high = np.where(rng.random(metrics) < 0.2, OPEN, one + (rng.random(metrics) * spread / 8).astype(int))
    return low, high


@pytest.mark.parametrize("metrics", [1, 2, 3])
@pytest.mark.parametrize("work", [300, 5_000, 1e7])
def test_every_grid_counts_no_less_than_is_inside_and_the_finest_just_that(
    metrics: int, work: float, never_listed: None
) -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        costs = random_costs(seed, 5, 5, metrics, int(rng.choice([4, 30, 10**6])))
        low, high = random_box(rng, costs)
        inside = all_inside(costs, low, high)
        box = reduce_box(costs, low, high)
        assert box is not None
        grid = Grid(box, choose_steps(box, np.maximum(box.high, 1).astype(float), work))
        assert grid.count >= len(inside)
        assert len(grid.enumerate()) == grid.count
        if grid.exact:
            assert grid.count == len(inside)
        kept = {tuple(box.kept[i][k] for i, k in enumerate(row)) for row in grid.enumerate().tolist()}
        assert kept >= set(map(tuple, inside.tolist()))


@pytest.mark.parametrize(
    ("metrics", "largest", "work"), [(1, 10, 1e6), (1, 10**6, 3e3), (2, 30, 1e7), (2, 10**6, 3e4), (3, 10**9, 3e5)]
)
def test_draws_are_uniform_by_chi_square(metrics: int, largest: int, work: float, never_listed: None) -> None:
    costs = random_costs(3, 4, 6, metrics, largest)
    middle = sum(own.mean(axis=0) for own in costs)
    low, high = (middle * 0.85).astype(int), (middle * 1.05).astype(int)
    inside = all_inside(costs, low, high)
    assert 10 < len(inside) < 700
    sampler = BoxSampler(costs, low, high, work=work)
    assert uniformity(sampler.draw, inside, [6] * 4, 20_000) > 0.001
    assert sampler.count == pytest.approx(len(inside), rel=5 * sampler.count_error + 1e-9)


def test_the_chi_square_test_sees_a_biased_sampler() -> None:
    costs = random_costs(3, 4, 6, 2, 10**6)
    middle = sum(own.mean(axis=0) for own in costs)
    low, high = (middle * 0.85).astype(int), (middle * 1.05).astype(int)
    inside = all_inside(costs, low, high)

    def biased(rng: np.random.RandomState, n: int) -> IntArray:
        """Takes half of the choices a quarter more often than the others."""
        weights = np.where(np.arange(len(inside)) % 2, 1.25, 1.0)
        return inside[rng.choice(len(inside), n, p=weights / weights.sum())]

    def outside(rng: np.random.RandomState, n: int) -> IntArray:
        return rng.randint(6, size=(n, 4))

    def uniform(rng: np.random.RandomState, n: int) -> IntArray:
        return inside[rng.randint(len(inside), size=n)]

    assert uniformity(uniform, inside, [6] * 4, 20_000) > 0.001
    assert uniformity(biased, inside, [6] * 4, 20_000) < 1e-6
    assert uniformity(outside, inside, [6] * 4, 20_000) == 0


@pytest.mark.parametrize("metrics", [1, 2])
def test_draws_from_narrow_windows_are_uniform_by_chi_square(metrics: int, never_listed: None) -> None:
    costs = random_costs(5, 4, 6, metrics, 10**6)
    middle = sum(own.mean(axis=0) for own in costs)
    low, high = (middle * 0.97).astype(int), (middle * 1.03).astype(int)
    inside = all_inside(costs, low, high)
    assert 5 < len(inside) < 200
    sampler = BoxSampler(costs, low, high, work=1e3)
    assert uniformity(sampler.draw, inside, [6] * 4, 5_000) > 0.001


def test_equal_candidates_share_evenly_and_impossible_ones_never_show(never_listed: None) -> None:
    costs = [np.array([[0], [0], [0], [7]]), np.array([[1], [2], [90], [2]])]
    sampler = BoxSampler(costs, np.array([2]), np.array([9]))
    inside = all_inside(costs, np.array([2]), np.array([9]))
    assert sampler.count == len(inside) == 3 * 2 + 3
    assert uniformity(sampler.draw, inside, [4, 4], 10_000) > 0.001


def test_a_box_with_nothing_inside_counts_zero() -> None:
    costs = [np.array([[0], [10]])] * 3
    assert BoxSampler(costs, np.array([11]), np.array([19])).count == 0
    assert BoxSampler(costs, np.array([31]), np.array([OPEN])).count == 0


def test_a_single_choice_among_many_is_found() -> None:
    rng = np.random.default_rng(0)
    costs = [2 ** (3 * i) * np.stack([rng.permutation(8)] * 2, axis=1) for i in range(10)]  # digits of an octal number
    wanted = rng.integers(0, 8, 10)
    total = sum(own[i] for own, i in zip(costs, wanted, strict=True))
    sampler = BoxSampler(costs, total, total)
    assert sampler.count == 1
    assert sampler.draw(np.random.RandomState(0), 3).tolist() == [wanted.tolist()] * 3


def test_counts_beyond_64_bits() -> None:
    labels, candidates = 25, 400
    costs = [np.arange(candidates)[:, None] % 2 for _ in range(labels)]
    sampler = BoxSampler(costs, np.array([0]), np.array([3]))
    ways = sum(math.comb(labels, ones) for ones in range(4)) * 200**labels
    assert sampler.count == pytest.approx(ways, rel=1e-12)
    assert costs[0][sampler.draw(np.random.RandomState(0), 500)][..., 0].sum(axis=1).max() == 3


def test_counts_beyond_float64() -> None:
    costs = [np.arange(400)[:, None] % 2 for _ in range(150)]
    sampler = BoxSampler(costs, np.array([0]), np.array([2]), work=1e9)
    ways = (1 + 150 + math.comb(150, 2)) * 200**150
    assert ways > 10**308
    assert sampler.count * 10**12 // ways in range(10**12 - 10, 10**12 + 10)


def test_the_count_of_known_sums() -> None:
    """Ten dice: the ways to throw a total are the coefficients of (x + ... + x^6)^10."""
    ways = np.polynomial.polynomial.polypow(np.ones(6), 10).round().astype(int)  # of total - 10
    dice = [np.arange(1, 7)[:, None]] * 10
    for total in (20, 35, 44):
        assert BoxSampler(dice, np.array([total]), np.array([total])).count == ways[total - 10]
    assert BoxSampler(dice, np.array([30]), np.array([40])).count == ways[20:31].sum()


def test_what_is_drawn_follows_from_the_state_of_the_generator() -> None:
    costs = random_costs(0, 8, 12, 2, 10**6)
    high = (sum(own.mean(axis=0) for own in costs) * 0.6).astype(int)
    rng = np.random.RandomState(5)
    first, second = (BoxSampler(costs, np.zeros(2, int), high, work=1e7) for _ in range(2))
    first.draw(rng, 7)
    state = rng.get_state()
    expected = [first.draw(rng, 1).tolist() for _ in range(5)]
    other = np.random.RandomState(0)
    other.set_state(state)
    assert [second.draw(other, 1).tolist() for _ in range(5)] == expected
