"""NSGA-II under budgets: no individual leaves, and on landscapes whose Pareto set is known it is found."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import nni
import numpy as np
import pytest
import torch
from helpers.spaces import Landscape, never, random_budget, run_table, run_trials, small_space
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import RawFormatModelSpace
from scipy.stats import wilcoxon
from torch import nn

from search_space.base.errors import InvalidRequest
from search_space.cost_table import CostTable
from strategies import NSGA2, Budget, Random
from strategies.multi_trial.nsga2 import NSGA2Options
from strategies.multi_trial.pareto import Reference, hypervolume, non_dominated

Asked = list[tuple[dict[str, Any], float]]


def small(seed: int, **common: Any) -> NSGA2:
    return NSGA2(population_size=4, mutation_prob=0.4, seed=seed, **common)


def half(landscape: Landscape) -> Budget:
    return Budget(max_macs=sum(landscape.costs.reachable()["macs"]) // 2)


def test_whatever_is_asked_for_is_inside_and_new_over_100_random_budgets() -> None:
    rng = np.random.default_rng(1)
    for seed in range(100):
        landscape = Landscape(seed, labels=4, values=4)
        budget = random_budget(rng, landscape.costs)
        asked = run_table(small(seed, budget=budget, costs=landscape.costs), landscape, 9)
        assert asked
        assert len({tuple(sample.values()) for sample, _ in asked}) == len(asked)
        for sample, metric in asked:
            assert budget.admits(landscape.costs.cost(sample)), budget
            assert metric == landscape(sample)


def test_a_seed_gives_one_sequence_and_no_global_state_is_read_or_changed() -> None:
    landscape = Landscape(0, labels=6, values=4)
    sequences = []
    for seed in (3, 3, 4):
        np.random.seed(len(sequences))  # noqa: NPY002 - the global state must not matter
        random.seed(len(sequences))
        torch.manual_seed(len(sequences))
        before = np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state().tolist()  # noqa: NPY002
        asked = run_table(small(seed, budget=half(landscape), costs=landscape.costs), landscape, 40)
        after = np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state().tolist()  # noqa: NPY002
        assert before == after
        sequences.append([sample for sample, _ in asked])
    assert sequences[0] == sequences[1] != sequences[2]


@pytest.mark.parametrize("stop", [2, 11, 12, 13])
def test_a_stopped_search_goes_on_as_if_it_had_not_stopped(stop: int) -> None:
    """In the initial population, and before, at and behind the end of a generation."""
    landscape = Landscape(1, labels=6, values=4)
    whole = run_table(small(7, costs=landscape.costs), landscape, 30)
    first = small(7, costs=landscape.costs)
    run_table(first, landscape, stop)
    assert run_table(small(7, costs=landscape.costs), landscape, 30 - stop, state=first.state_dict()) == whole[stop:]
    with pytest.raises(RuntimeError, match=r"state: architecture \d is not what this strategy proposes"):
        run_table(small(8, costs=landscape.costs), landscape, 1, state=first.state_dict())


def test_a_small_space_is_searched_to_the_end_and_no_further() -> None:
    landscape = Landscape(3, labels=3, values=4)
    for budget, population in ((Budget(), 4), (half(landscape), 4), (half(landscape), 100)):
        strategy = NSGA2(budget=budget, costs=landscape.costs, population_size=population)
        asked = run_table(strategy, landscape, 100)
        every = itertools.product(range(4), repeat=3)
        inside = [
            s for s in every if budget.admits(landscape.costs.cost(dict(zip(landscape.candidates, s, strict=True))))
        ]
        assert sorted(tuple(sample.values()) for sample, _ in asked) == inside


def test_few_architectures_in_a_large_space_are_all_found() -> None:
    names = [f"b{index}" for index in range(12)]
    costs = CostTable(
        dict.fromkeys(names, ("small", "large", "huge")),
        {metric: {name: np.array([0, 10, 50]) for name in names} for metric in ("macs", "params")},
        {"macs": 0, "params": 0},
    )
    landscape = Landscape(0, labels=1)
    landscape.candidates, landscape.costs = dict(costs.candidates), costs
    strategy = small(0, budget=Budget(max_macs=10), costs=costs)
    asked = run_table(strategy, landscape, 30, score=lambda sample: float(sample["b0"] == "large"))
    assert sorted(list(sample.values()).count("large") for sample, _ in asked) == [0] + 12 * [1]
    assert len({tuple(sample.values()) for sample, _ in asked}) == 13


class Nested(ModelSpace):
    """b matters only where the second branch is taken: three architectures in four samples."""

    def __init__(self) -> None:
        super().__init__()
        inner = LayerChoice({"p": nn.Identity(), "q": nn.Identity()}, label="b")
        self.outer = LayerChoice({"plain": nn.Identity(), "nested": nn.Sequential(inner)}, label="a")


def test_samples_that_differ_in_unused_labels_are_one_architecture() -> None:
    costs = CostTable(
        {"a": ("plain", "nested"), "b": ("p", "q")},
        {"macs": {"a": np.array([1, 2]), "b": np.array([3, 3])}},
        {"macs": 0},
    )
    strategy = NSGA2(costs=costs, population_size=2, objectives=["macs"])
    asked = run_trials(strategy, Nested(), lambda model: 0.5, 10)
    assert sorted((s["a"], s["b"] if s["a"] == "nested" else "") for s, _ in asked) == [
        *(("nested", "p"), ("nested", "q"), ("plain", ""))
    ]


@pytest.mark.parametrize("population", [2, 5])
def test_failures_never_become_parents(population: int) -> None:
    landscape = Landscape(3, labels=5, values=4)

    def score(sample: Mapping[str, Any]) -> float:
        return math.nan if sample["b1"] != 2 else 0.5

    strategy = NSGA2(costs=landscape.costs, population_size=population)
    asked = run_table(strategy, landscape, 60, score=score)
    assert len(asked) == 60
    parents = [sample for sample, _ in strategy.proposer.population]
    assert 1 <= len(parents) <= population
    assert all(parent["b1"] == 2 for parent in parents)
    assert all(model.sample["b1"] == 2 for model in strategy.list_models())


def test_where_everything_fails_the_search_stays_random_and_ends() -> None:
    landscape = Landscape(3, labels=3, values=4)
    strategy = small(0, costs=landscape.costs)
    asked = run_table(strategy, landscape, 100, score=lambda sample: math.nan)
    assert len(asked) == 64
    assert list(strategy.list_models()) == []


def test_the_pareto_set_of_all_that_was_scored_stays_in_the_population() -> None:
    """Survival is elitist: as long as it has room for it, the first front of everything is kept."""
    landscape = Landscape(2, labels=6, values=4)
    strategy = NSGA2(costs=landscape.costs, population_size=20, objectives=["macs"])
    asked = run_table(strategy, landscape, 101)  # 5 generations have been told when the 101st is asked for
    kept = {tuple(sample.values()) for sample, _ in strategy.proposer.population}
    scored = np.array([[-metric, landscape.costs.cost(sample)["macs"]] for sample, metric in asked[:100]], dtype=float)
    sizes = [int(non_dominated(scored[:told]).sum()) for told in (20, 40, 60, 80, 100)]
    front = {tuple(asked[index][0].values()) for index in np.flatnonzero(non_dominated(scored))}
    assert max(sizes) <= len(kept) == 20, sizes
    assert len(front) > 5
    assert front <= kept


# --- how well it searches


class Measured:
    """A landscape with the metric scaled to [0, 1] by its extremes, and its true Pareto set by enumeration."""

    def __init__(self, seed: int, labels: int, values: int, objectives: Sequence[str], share: float = 0.4) -> None:
        self.landscape = Landscape(seed, labels, values, share)
        self.budget = Budget()
        self.reference = Reference.of(self.landscape.costs, self.budget, objectives)
        every = np.array(list(itertools.product(range(values), repeat=labels)))
        scores = self.landscape.alone[np.arange(labels), every].sum(axis=1)
        scores += self.landscape.pairs[np.arange(labels - 1), every[:, :-1], every[:, 1:]].sum(axis=1)
        self.low, self.high = scores.min(), scores.max()
        self.truth = self.scaled(every, scores)
        self.front = {tuple(row) for row in every[non_dominated(self.truth)].tolist()}

    def scaled(self, chosen: np.ndarray, scores: np.ndarray) -> np.ndarray:
        costs = self.landscape.costs.evaluate(chosen)
        return self.reference.objectives((scores - self.low) / (self.high - self.low), costs)

    def volume(self, asked: Asked) -> float:
        """As a share of what the true Pareto set reaches."""
        chosen = np.array([list(sample.values()) for sample, _ in asked])
        reached = hypervolume(self.scaled(chosen, np.array([metric for _, metric in asked])))
        return reached / hypervolume(self.truth)

    def found(self, asked: Asked) -> float:
        """Share of the true Pareto set that was asked for."""
        return len(self.front & {tuple(sample.values()) for sample, _ in asked}) / len(self.front)


@pytest.mark.parametrize("objectives", [("macs",), ("macs", "params")])
def test_it_finds_the_true_pareto_set_of_a_small_space(objectives: tuple[str, ...]) -> None:
    """Of 1024 architectures 400 are scored: nearly all of the Pareto set is among them (by chance 39%)."""
    shares, volumes = [], []
    for seed in range(3):
        measured = Measured(seed, 5, 4, objectives)
        strategy = NSGA2(costs=measured.landscape.costs, objectives=objectives, seed=seed)
        asked = run_table(strategy, measured.landscape, 400)
        shares.append(measured.found(asked))
        volumes.append(measured.volume(asked))
    assert np.mean(shares) > 0.8, shares
    assert np.mean(volumes) > 0.985, volumes


@pytest.mark.parametrize("objectives", [("macs",), ("macs", "params")])
def test_it_beats_random_search_at_equal_evaluations(objectives: tuple[str, ...]) -> None:
    """Hypervolume of 200 of 15,625 architectures on 12 landscapes; paired, one-sided."""
    better = []
    for seed in range(100, 112):
        measured = Measured(seed, 6, 5, objectives)
        common = {"costs": measured.landscape.costs}
        evolved = run_table(NSGA2(**common, objectives=objectives, seed=seed), measured.landscape, 200)
        drawn = run_table(Random(**common, seed=seed + 1000), measured.landscape, 200)
        better.append(measured.volume(evolved) - measured.volume(drawn))
    assert wilcoxon(better, alternative="greater").pvalue < 0.01, better


# --- requests


def test_costs_of_ones_own_can_be_objectives() -> None:
    landscape = Landscape(2, labels=5, values=4)
    latency = {label: {value: float(value == 0) for value in values} for label, values in landscape.candidates.items()}
    costs = landscape.costs.with_cost("latency_ms", latency)
    budget = Budget(max_costs={"latency_ms": 3.0})
    strategy = NSGA2(budget=budget, costs=costs, population_size=8, objectives=["latency_ms"])
    asked = run_table(strategy, landscape, 60, score=lambda sample: 0.5)
    zeros = [list(sample.values()).count(0) for sample, _ in asked]
    assert max(zeros) <= 3
    assert np.mean(zeros[-20:]) < np.mean(zeros[:8]) - 0.5, "with equal metrics the cost alone decides"


def test_an_objective_that_is_no_cost_is_refused_before_any_trial() -> None:
    landscape = Landscape(0, labels=3, values=2)
    strategy = NSGA2(costs=landscape.costs, objectives=["macs", "latency_ms"])
    with pytest.raises(
        InvalidRequest,
        match=r"^strategy\.options\.objectives: no cost table gives 'latency_ms'; ",
    ):
        strategy(RawFormatModelSpace(landscape.space(), never()), SequentialExecutionEngine())


def test_an_impossible_budget_is_refused_before_any_trial() -> None:
    landscape = Landscape(0, labels=3, values=2)
    strategy = NSGA2(budget=Budget(max_macs=1), costs=landscape.costs)
    with pytest.raises(InvalidRequest, match=r"budget\.max_macs: 1 is below the smallest architecture"):
        strategy(RawFormatModelSpace(landscape.space(), never()), SequentialExecutionEngine())


def test_a_population_never_exceeds_the_trials() -> None:
    assert NSGA2Options(trials=3, population_size=10).for_trials().population_size == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"population_size": 0}, "population_size: 0 must be a whole number of at least 1"),
        ({"crossover_prob": 1.5}, "crossover_prob: 1.5 must be a number from 0 to 1"),
        ({"mutation_prob": 0.0}, "mutation_prob: 0.0 must be a number above 0 and at most 1"),
        ({"objectives": ()}, "objectives: [] is empty; name one or more costs"),
        ({"objectives": ("macs", "macs")}, "objectives: 'macs' is given twice; name each once"),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        NSGA2Options(**values)
    assert str(caught.value).startswith(f"strategy.options.{message}")


@pytest.mark.parametrize(("crossover", "mixed"), [(0.0, False), (1.0, True)])
def test_children_are_mutants_of_one_parent_or_mixes_of_two(crossover: float, mixed: bool) -> None:
    """Two parents that differ everywhere; a mutant of one differs from it in the one label redrawn at this rate."""
    landscape = Landscape(0, labels=10, values=4)
    strategy = NSGA2(costs=landscape.costs, population_size=2, crossover_prob=crossover, mutation_prob=1e-9)
    run_table(strategy, landscape, 0)
    parents = np.array([[0] * 10, [1] * 10])
    for trial, row in enumerate(parents):
        strategy._proposed.append(landscape.costs.sample(row))
        strategy.proposer.observe(trial, strategy._proposed[trial], (1.0, -1.0)[row[0]])
    strategy.proposer.survive()
    children = [strategy.proposer.propose() for _ in range(20)]
    distances = [min(int((np.array(list(child.values())) != row).sum()) for row in parents) for child in children]
    assert (max(distances) > 1) == mixed


def test_it_runs_on_our_own_space() -> None:
    space = small_space()
    low, high = space.cost_table.reachable()["macs"]
    budget = Budget(max_macs=low + (high - low) // 5)
    scored = run_trials(small(0, budget=budget), space, lambda net: sum(p.numel() for p in net.parameters()) / 1e6, 12)
    assert len({tuple(sample.values()) for sample, _ in scored}) == 12
    assert all(budget.admits(space.cost_table.cost(sample)) for sample, _ in scored)


def test_trials_side_by_side_are_all_different_and_late_ones_join_the_population() -> None:
    """As an engine with three workers drives it: three are always asked for before the oldest of them is told."""
    landscape = Landscape(4, labels=6, values=4)
    strategy = small(0, costs=landscape.costs)
    strategy.initialize(
        RawFormatModelSpace(landscape.space(), FunctionalEvaluator(nni.report_final_result)),
        SequentialExecutionEngine(),
    )
    running: list[int] = []
    for _ in range(40):
        trial = strategy._ask()
        assert trial is not None
        running.append(trial)
        if len(running) == 3:
            oldest = running.pop(0)
            strategy._tell(oldest, landscape(strategy._proposed[oldest]))
    assert len({tuple(sample.values()) for sample in strategy._proposed}) == 40
    for trial in running:
        strategy._tell(trial, 100.0 + trial)  # better than anything
    strategy.proposer.survive()
    assert -100.0 - max(running) in [objectives[0] for _, objectives in strategy.proposer.population]
    again = small(0, costs=landscape.costs)
    again.initialize(strategy.model_space, SequentialExecutionEngine())
    again.load_state_dict(strategy.state_dict())  # raises if it asks for anything else
    assert again._again == []
