"""The feasible set against brute force on small spaces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategy_spaces import all_samples, random_table

from search_space.candidates import SearchSpace
from search_space.cost_table import CostTable
from search_space.errors import InvalidRequest
from strategies import Budget, FeasibleSet


def budgets(table: CostTable, rng: np.random.Generator) -> Budget:
    """A random budget whose window need not be reachable."""
    bounds: dict[str, int] = {}
    for metric, (low, high) in table.reachable().items():
        ends = sorted(int(end) for end in rng.integers(low, high + 1, 2))
        if rng.random() < 0.7:
            bounds[f"max_{metric}"] = ends[1]
        if rng.random() < 0.4:
            bounds[f"min_{metric}"] = ends[0]
    return Budget(**bounds)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_best_is_the_brute_force_maximum_and_infeasibility_is_seen(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = random_table(rng, labels=4, candidates=4, largest=int(rng.choice([5, 1000, 10**8])))
    budget = budgets(table, rng)
    scores = {label: np.log(rng.dirichlet(np.ones(4))) for label in table.labels}
    inside = [sample for sample in all_samples(table) if budget.admits(table.cost(sample))]

    def total(sample: dict[str, str]) -> float:
        return sum(scores[label][table.candidates[label].index(name)] for label, name in sample.items())

    if not inside:
        with pytest.raises(InvalidRequest, match="reachable are macs"):
            FeasibleSet(table, budget)
        return
    found = FeasibleSet(table, budget).best(scores)
    assert budget.admits(table.cost(found))
    assert total(found) == pytest.approx(max(map(total, inside)), abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_nearest_changes_as_few_labels_as_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = random_table(rng, labels=4, candidates=3)
    samples = list(all_samples(table))
    target = samples[rng.integers(len(samples))]
    budget = Budget(max_macs=table.cost(samples[rng.integers(len(samples))])["macs"])
    inside = [sample for sample in samples if budget.admits(table.cost(sample))]

    def distance(sample: dict[str, str]) -> int:
        return sum(sample[label] != target[label] for label in table.labels)

    found = FeasibleSet(table, budget).nearest(target, np.random.RandomState(seed % 2**32))
    assert budget.admits(table.cost(found))
    assert distance(found) == min(map(distance, inside))


def test_random_samples_are_inside_even_where_one_in_millions_is() -> None:
    space = SearchSpace.create()
    table = space.cost_table
    low, high = table.reachable()["macs"]
    budget = Budget(max_macs=low + (high - low) // 50)  # almost everything must be skip or the cheapest operator
    feasible = FeasibleSet(table, budget)
    rng = np.random.RandomState(0)
    proposals = np.stack([rng.randint(len(v), size=200_000) for v in table.candidates.values()], axis=1)
    assert (table.evaluate(proposals)["macs"] > budget.bounds()["macs"][1]).all(), "the budget is not tight enough"
    samples = [feasible.random(rng) for _ in range(20)]
    assert all(feasible.admits(sample) for sample in samples)
    assert len({tuple(sample.values()) for sample in samples}) > 10


def test_random_and_nearest_repeat_for_a_seed() -> None:
    table = random_table(np.random.default_rng(1), labels=6, candidates=5)
    low, high = table.reachable()["macs"]
    feasible = FeasibleSet(table, Budget(max_macs=low + (high - low) // 10))
    first = [feasible.random(np.random.RandomState(3)) for _ in range(2)]
    assert first[0] == first[1]
    sequences = []
    for _ in range(2):
        rng = np.random.RandomState(4)
        sequences.append([feasible.random(rng) for _ in range(5)])
    assert sequences[0] == sequences[1]


def test_a_bound_at_the_very_edge_is_met_exactly() -> None:
    table = random_table(np.random.default_rng(2), labels=11, candidates=20, largest=10**8)
    low, high = table.reachable()["macs"]
    for bound, expected in ((Budget(max_macs=low), low), (Budget(min_macs=high), high)):
        sample = FeasibleSet(table, bound).best({label: np.zeros(20) for label in table.labels})
        assert table.cost(sample)["macs"] == expected
    with pytest.raises(InvalidRequest, match=rf"budget\.max_macs: {low - 1:,} is below the smallest .*\({low:,}\)"):
        FeasibleSet(table, Budget(max_macs=low - 1))
    with pytest.raises(InvalidRequest, match=rf"budget\.min_macs: {high + 1:,} is above the largest .*\({high:,}\)"):
        FeasibleSet(table, Budget(min_macs=high + 1))


def test_bounds_that_exclude_each_other_are_refused_with_the_ranges() -> None:
    table = CostTable(
        candidates={"a": ("x", "y")},
        costs={"macs": {"a": np.array([1, 9])}, "params": {"a": np.array([9, 1])}},
        fixed={"macs": 0, "params": 0},
    )
    with pytest.raises(
        InvalidRequest,
        match=r"no architecture meets macs <= 5, params <= 5 at once.*reachable are macs 1 to 9, params 1 to 9; loosen",
    ):
        FeasibleSet(table, Budget(max_macs=5, max_params=5))


def test_scores_must_be_finite() -> None:
    table = random_table(np.random.default_rng(0), labels=2, candidates=2)
    with pytest.raises(ValueError, match="scores: must be finite"):
        FeasibleSet(table, Budget()).best({label: np.array([0.0, -np.inf]) for label in table.labels})
