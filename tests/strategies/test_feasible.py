"""The feasible set against brute force on small spaces."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
from helpers.spaces import all_samples, random_table
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, milp
from scipy.stats import chisquare

from search_space.base.errors import InvalidRequest
from search_space.candidates import SearchSpace
from search_space.cost_table import CostTable
from strategies import Budget, FeasibleSet
from strategies.budget import milp as program


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


@settings(max_examples=60)
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
        with pytest.raises(InvalidRequest, match="reachable: macs"):
            FeasibleSet(table, budget)
        return
    found = FeasibleSet(table, budget).best(scores)
    assert budget.admits(table.cost(found))
    assert total(found) == pytest.approx(max(map(total, inside)), abs=1e-6)


@settings(max_examples=40)
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
        match=r"no architecture meets macs <= 5, params <= 5 at once.*reachable: macs 1 to 9, params 1 to 9; loosen",
    ):
        FeasibleSet(table, Budget(max_macs=5, max_params=5))


def test_scores_must_be_finite() -> None:
    table = random_table(np.random.default_rng(0), labels=2, candidates=2)
    with pytest.raises(ValueError, match="scores: must be finite"):
        FeasibleSet(table, Budget()).best({label: np.array([0.0, -np.inf]) for label in table.labels})


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 12))
def test_best_k_are_the_brute_force_best_in_order(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    table = random_table(rng, labels=4, candidates=3, largest=int(rng.choice([5, 10**6])))
    anchor = table.cost(next(iter(all_samples(table))))
    budget = Budget(max_macs=anchor["macs"] + int(rng.integers(10)), min_params=max(0, anchor["params"] - 2))
    scores = {label: np.log(rng.dirichlet(np.ones(3))) for label in table.labels}

    def total(sample: dict[str, str]) -> float:
        return sum(scores[label][table.candidates[label].index(name)] for label, name in sample.items())

    inside = sorted((s for s in all_samples(table) if budget.admits(table.cost(s))), key=total, reverse=True)
    found = FeasibleSet(table, budget).best_k(scores, k)
    assert len({tuple(sample.values()) for sample in found}) == len(found) == min(k, len(inside))
    assert all(budget.admits(table.cost(sample)) for sample in found)
    assert [total(sample) for sample in found] == pytest.approx([total(sample) for sample in inside[:k]], abs=1e-6)
    assert found[0] == FeasibleSet(table, budget).best(scores)
    diverse: list[dict[str, str]] = []  # greedily, over all that there are
    for sample in inside:
        if len(diverse) < k and all(sum(sample[n] != other[n] for n in sample) >= 2 for other in diverse):
            diverse.append(sample)
    apart = FeasibleSet(table, budget).best_k(scores, k, apart=2)
    assert [total(sample) for sample in apart] == pytest.approx([total(sample) for sample in diverse], abs=1e-6)


def test_best_k_of_none_is_refused() -> None:
    table = random_table(np.random.default_rng(0), labels=2, candidates=2)
    with pytest.raises(InvalidRequest, match="k: 0 must be a whole number of at least 1"):
        FeasibleSet(table, Budget()).best_k({label: np.zeros(2) for label in table.labels}, 0)


def test_an_answer_of_the_solver_outside_the_budget_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver whose tolerance is ten units of cost: the answer is still the brute-force best inside."""
    table = random_table(np.random.default_rng(4), labels=4, candidates=4, largest=30)
    low, high = table.reachable()["macs"]
    budget = Budget(max_macs=(low + high) // 2)
    scores = {label: np.random.default_rng(i).random(4) for i, label in enumerate(table.labels)}
    exact = FeasibleSet(table, budget).best_k(scores, 5)
    calls = []

    def sloppy(*args: Any, constraints: list[Any], **kwargs: Any) -> Any:
        calls.append(1)
        one_each, cost, *cuts = constraints
        return milp(*args, constraints=[one_each, LinearConstraint(cost.A, cost.lb, cost.ub + 10), *cuts], **kwargs)

    monkeypatch.setattr(program, "milp", sloppy)
    assert FeasibleSet(table, budget).best_k(scores, 5) == exact
    assert len(calls) > 6, "no answer was outside"


def test_the_solver_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    table = random_table(np.random.default_rng(2), labels=12, candidates=20, largest=10**8)
    low, high = table.reachable()["macs"]
    feasible = FeasibleSet(table, Budget(max_macs=low + (high - low) // 7, max_params=10**12))
    feasible.best_k({label: np.random.default_rng(0).random(20) for label in table.labels}, 3)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("seed", range(100))
def test_whatever_is_drawn_is_inside_for_100_budgets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = random_table(rng, labels=int(rng.integers(2, 9)), candidates=int(rng.integers(2, 8)))
    if seed % 2:
        own = {name: dict(zip(v, rng.random(len(v)).tolist(), strict=True)) for name, v in table.candidates.items()}
        table = table.with_cost("latency_ms", own, fixed=0.5)
    anchor = {
        metric: totals[0].item() for metric, totals in table.evaluate(np.zeros((1, len(table.labels)), int)).items()
    }
    budget = Budget()
    for metric, (low, high) in table.reachable().items():
        width = (high - low) * rng.random() ** 3
        ends = (anchor[metric] - width / 2, anchor[metric] + width / 2)
        low, high = (max(0, end) if metric == "latency_ms" else max(0, round(end)) for end in ends)
        budget = budget.bounded(metric, low if rng.random() < 0.5 else None, high if rng.random() < 0.7 else None)
    feasible = FeasibleSet(table, budget)
    state = np.random.RandomState(seed)
    first, second = feasible.random(state), feasible.random(state)
    drawn = [
        first,
        second,
        *map(table.sample, feasible.sample_many(state, 20)),
        *map(table.sample, feasible.spread(state, 3)),
        feasible.crossover(first, second, state),
        *(feasible.mutate(first, state, probability) for probability in (0.0, 0.1, 0.5, 1.0)),
        feasible.nearest({label: values[-1] for label, values in table.candidates.items()}, state),
    ]
    for sample in drawn:
        assert budget.admits(table.cost(sample)), f"{sample} costs {table.cost(sample)}, outside {budget}"


def chi_square(samples: list[dict[str, str]], expected: list[dict[str, str]]) -> float:
    """p of the hypothesis that ``samples`` are drawn uniformly from ``expected``."""
    counts = Counter(tuple(sample.values()) for sample in samples)
    keys = [tuple(sample.values()) for sample in expected]
    assert set(counts) <= set(keys)
    return float(chisquare([counts[key] for key in keys]).pvalue)


def two_bounds() -> FeasibleSet:
    """A few architectures of 256 inside two bounds on MACs and one on a latency."""
    table = random_table(np.random.default_rng(8), labels=4, candidates=4)
    own = {
        label: {name: round(0.1 * (1 + (7 * i + 3 * k) % 5), 1) for k, name in enumerate(values)}
        for i, (label, values) in enumerate(table.candidates.items())
    }
    table = table.with_cost("latency_ms", own)
    low, high = table.reachable()["macs"]
    middle, width = (low + high) // 2, (high - low) // 7
    return FeasibleSet(table, Budget(min_macs=middle - width, max_macs=middle + width, max_costs={"latency_ms": 1.2}))


def test_random_is_uniform_over_what_is_inside_bounds_on_whole_and_on_broken_costs() -> None:
    feasible = two_bounds()
    inside = [sample for sample in all_samples(feasible.table) if feasible.admits(sample)]
    assert 20 < len(inside) < 120
    assert feasible.count == len(inside)
    assert feasible.count_error == 0
    assert feasible.share == len(inside) / 256
    rng = np.random.RandomState(0)
    assert chi_square([feasible.random(rng) for _ in range(4000)], inside) > 0.001


def test_a_mutant_is_uniform_over_the_others_inside() -> None:
    feasible = two_bounds()
    rng = np.random.RandomState(1)
    parent = feasible.random(rng)
    others = [sample for sample in all_samples(feasible.table) if feasible.admits(sample) and sample != parent]
    assert chi_square([feasible.mutate(parent, rng, 1.0) for _ in range(2000)], others) > 0.001


def test_a_mutant_at_probability_zero_changes_one_label_if_one_can_change() -> None:
    feasible = two_bounds()
    rng = np.random.RandomState(2)
    for _ in range(50):
        parent = feasible.random(rng)
        single = [
            sample
            for sample in all_samples(feasible.table)
            if feasible.admits(sample) and sum(sample[label] != parent[label] for label in parent) == 1
        ]
        child = feasible.mutate(parent, rng, 0.0)
        changed = sum(child[label] != parent[label] for label in parent)
        assert changed >= 1
        assert changed <= 2 or len(single) < 4


def test_the_only_architecture_inside_is_its_own_mutant_and_cross_over() -> None:
    table = random_table(np.random.default_rng(3), labels=11, candidates=20, largest=10**8)
    low, _ = table.reachable()["macs"]
    feasible = FeasibleSet(table, Budget(max_macs=low))
    only = feasible.best({label: np.zeros(20) for label in table.labels})
    rng = np.random.RandomState(0)
    assert feasible.count == 1
    assert feasible.random(rng) == feasible.mutate(only, rng, 0.2) == feasible.crossover(only, only, rng) == only
    assert [table.sample(row) for row in feasible.spread(rng, 2)] == [only, only]


def test_a_cross_over_is_uniform_over_the_mixes_inside() -> None:
    feasible = two_bounds()
    rng = np.random.RandomState(2)
    first, second = feasible.random(rng), feasible.random(rng)
    mixes = [
        sample
        for sample in all_samples(feasible.table)
        if feasible.admits(sample) and all(name in (first[label], second[label]) for label, name in sample.items())
    ]
    assert 4 < len(mixes) < 16
    assert chi_square([feasible.crossover(first, second, rng) for _ in range(2000)], mixes) > 0.001


def test_variation_of_what_is_outside_is_refused() -> None:
    feasible = two_bounds()
    outside = next(sample for sample in all_samples(feasible.table) if not feasible.admits(sample))
    with pytest.raises(
        InvalidRequest, match=r"^sample: costs \{.*\}, outside macs >= .*; replace it by `nearest` of it first$"
    ):
        feasible.mutate(outside, np.random.RandomState(0), 0.1)


def test_a_spread_takes_one_from_every_bin() -> None:
    table = SearchSpace.create().cost_table
    for metric, (smallest, end) in table.reachable().items():
        largest = smallest + (end - smallest) // 2
        feasible = FeasibleSet(table, Budget().bounded(metric, None, largest))
        costs = table.evaluate(feasible.spread(np.random.RandomState(0), 8, metric))
        assert feasible.budget.inside(costs).all()
        width = (largest - smallest) / 8
        middles = smallest + (np.arange(8) + 0.5) * width
        assert (np.abs(costs[metric] - middles) <= 0.55 * width).all()


def test_an_empty_bin_is_widened_around_its_middle() -> None:
    table = CostTable({"a": ("w", "x", "y", "z")}, {"macs": {"a": np.array([0, 10, 90, 100])}}, {"macs": 0})
    feasible = FeasibleSet(table, Budget())
    drawn = [feasible.spread(np.random.RandomState(seed), 5)[:, 0].tolist() for seed in range(20)]
    # bins of 20: those around 30 and 70 see 10 and 90 when twice as wide, that around 50 both when four times as wide
    assert {tuple(indices[1::2]) for indices in drawn} == {(1, 2)}
    assert {indices[2] for indices in drawn} == {1, 2}
    assert {indices[0] for indices in drawn} == {0, 1}
    assert {indices[4] for indices in drawn} == {2, 3}


def test_a_spread_that_makes_no_sense_is_refused() -> None:
    feasible = two_bounds()
    with pytest.raises(InvalidRequest, match="metric: 'joule' is unknown; known are macs, params, latency_ms"):
        feasible.spread(np.random.RandomState(0), 3, "joule")
    with pytest.raises(InvalidRequest, match="n: 0 must be a whole number of at least 1"):
        feasible.spread(np.random.RandomState(0), 0)


def test_a_bound_on_a_cost_that_no_table_gives_is_refused_by_name() -> None:
    table = random_table(np.random.default_rng(0), labels=2, candidates=2)
    with pytest.raises(
        InvalidRequest, match=r"^budget\.min_costs\.ms: no cost table gives 'ms'; known are macs, params; add its costs"
    ):
        FeasibleSet(table, Budget(min_costs={"ms": 1}))


def test_a_bound_on_another_cost_outside_its_range_is_refused_with_the_ranges() -> None:
    table = two_bounds().table
    with pytest.raises(
        InvalidRequest, match=r"budget\.max_costs\.latency_ms: 0\.1 is below the smallest .*latency_ms "
    ):
        FeasibleSet(table, Budget(max_costs={"latency_ms": 0.1}))


def test_without_a_budget_all_architectures_count() -> None:
    table = SearchSpace.create().cost_table
    feasible = FeasibleSet(table, Budget())
    assert feasible.count == table.size
    assert feasible.share == 1
    assert feasible.sample_many(np.random.RandomState(0), 5).shape == (5, len(table.labels))


def test_what_one_in_a_hundred_thousand_meets_is_drawn_as_fast_as_what_most_meet() -> None:
    """Both draws are timed in turn, so a busy machine slows both; trying at random would take a thousand times as
    long."""
    table = random_table(np.random.default_rng(0), labels=11, candidates=40)
    at = {metric: (low, high - low) for metric, (low, high) in table.reachable().items()}
    tight, loose = (
        FeasibleSet(table, Budget(**{f"max_{metric}": low + int(part * width) for metric, (low, width) in at.items()}))
        for part in (0.3, 0.6)
    )
    assert tight.share < 1e-4 < 0.5 < loose.share
    assert tight.count_error < 0.02
    best = {}
    for name, feasible in (("tight", tight), ("loose", loose)) * 2:
        feasible.sample_many(np.random.RandomState(0), 10)  # fills the tables
        start = time.process_time()
        drawn = feasible.sample_many(np.random.RandomState(1), 5_000)
        best[name] = min(best.get(name, np.inf), time.process_time() - start)
        assert feasible.budget.inside(table.evaluate(drawn)).all()
    assert best["tight"] < 5 * best["loose"]
