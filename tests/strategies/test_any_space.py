"""Spaces that somebody else wrote: choices of all kinds, values that are no texts, costs by NNI's profiler."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import nni
import numpy as np
import pytest
import torch
from helpers.spaces import FOREIGN_COSTS, ForeignSpace, run_one_shot, run_trials
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import InputChoice, LayerChoice, ModelSpace, MutableConv2d, Repeat
from nni.nas.space import RawFormatModelSpace
from torch import Tensor, nn

from search_space.base.errors import InvalidRequest
from search_space.cost_table import CostTable
from strategies import (
    DARTS,
    ENAS,
    GDAS,
    TPE,
    Budget,
    GridSearch,
    GumbelDARTS,
    Proxyless,
    Random,
    RandomOneShot,
    RegularizedEvolution,
    profiled_costs,
)
from strategies.budget.used_labels import has_nested_choices, used_labels

MULTI_TRIAL: list[Callable[..., Any]] = [
    Random,
    GridSearch,
    lambda **common: TPE(n_startup_jobs=3, **common),
    lambda **common: RegularizedEvolution(population_size=3, sample_size=2, mutation_prob=0.4, **common),
]
every_multi_trial = pytest.mark.parametrize("make", MULTI_TRIAL, ids=["random", "grid", "tpe", "evolution"])


class Mixed(ModelSpace):
    """Kernel size and width by number (the width beside a fixed layer), depth, and a `LayerChoice` without names."""

    def __init__(self) -> None:
        super().__init__()
        width = nni.choice("width", [2, 4, 6])
        self.stem = MutableConv2d(1, width, nni.choice("kernel", [1, 3]), padding="same")
        self.squeeze = MutableConv2d(width, 4, 1)
        self.body = Repeat(lambda index: nn.Conv2d(4, 4, 1), (1, 3), label="depth")
        self.last = LayerChoice([nn.Conv2d(4, 4, 3, padding=1), nn.Identity()], label="last")
        self.classifier = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.last(self.body(self.squeeze(self.stem(x)))).mean((2, 3)))


MIXED_VALUES: dict[str, tuple[Any, ...]] = {
    "width": (2, 4, 6),
    "kernel": (1, 3),
    "depth": (1, 2, 3),
    "last": ("0", "1"),
}


def count_params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def mixed_costs(space: Mixed) -> CostTable:
    """Parameters, which add up over the labels if width and kernel are one: so the kernel counts at width 4."""
    labels = {str(label): tuple(mutable.values) for label, mutable in space.simplify().items()}
    base: dict[str, Any] = {"width": 4, "kernel": 1, "depth": 1, "last": labels["last"][0]}
    costs = {
        label: np.array([count_params(space.freeze({**base, label: value})) for value in values])
        for label, values in labels.items()
    }
    return CostTable(labels, {"params": costs}, {"params": 0})


@every_multi_trial
def test_choices_of_all_kinds_run_under_a_budget(make: Callable[..., Any]) -> None:
    space = Mixed()
    costs = mixed_costs(space)
    low, high = costs.reachable()["params"]
    budget = Budget(max_params=(low + high) // 2)

    def score(network: nn.Module) -> float:
        with torch.no_grad():
            assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 4)
        return float(count_params(network))

    asked = run_trials(make(budget=budget, costs=costs), space, score, 12)
    assert len({str(sample) for sample, _ in asked}) == 12
    for sample, _ in asked:
        assert budget.admits(costs.cost(sample))
        assert isinstance(sample["width"], int)
        assert set(sample) == set(MIXED_VALUES)


class Nested(ModelSpace):
    """Five architectures: `inner` matters only if `outer` is "some"."""

    def __init__(self) -> None:
        super().__init__()
        inner = LayerChoice({name: nn.Linear(2, 2) for name in "abcd"}, label="inner")
        self.outer = LayerChoice({"some": inner, "none": nn.Identity()}, label="outer")

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(x)


NESTED_COSTS = CostTable(
    {"outer": ("some", "none"), "inner": ("a", "b", "c", "d")},
    {"macs": {"outer": np.array([4, 0]), "inner": np.zeros(4, dtype=np.int64)}},
    {"macs": 0},
)


def test_labels_of_what_is_not_chosen_are_unused() -> None:
    assert has_nested_choices(Nested())
    assert not has_nested_choices(ForeignSpace())
    assert not has_nested_choices(Mixed())
    assert used_labels(Nested(), {"outer": "some", "inner": "b"}) == {"outer", "inner"}
    assert used_labels(Nested(), {"outer": "none", "inner": "b"}) == {"outer"}


@every_multi_trial
def test_one_architecture_is_scored_once_whatever_its_unused_labels_say(make: Callable[..., Any]) -> None:
    asked = run_trials(make(costs=NESTED_COSTS), Nested(), lambda network: 0.0, 20)
    assert sorted(sample["inner"] if sample["outer"] == "some" else "none" for sample, _ in asked) == [
        *"abcd",
        "none",
    ]


def test_nnis_evolution_counts_unused_labels_as_new() -> None:
    """The difference that the test above is about."""
    from nni.nas.strategy import RegularizedEvolution as NniRegularizedEvolution

    strategy = NniRegularizedEvolution(population_size=4, sample_size=2, mutation_prob=0.5, seed=0)
    assert len(run_trials(strategy, Nested(), lambda network: 0.0, 20)) > 5


# --- one-shot strategies


@pytest.mark.parametrize("strategy_class", [DARTS, GDAS, GumbelDARTS, Proxyless, ENAS, RandomOneShot])
def test_one_shot_strategies_train_a_space_of_others_under_a_budget(strategy_class: Any) -> None:
    strategy = strategy_class(budget=Budget(max_macs=8000), costs=FOREIGN_COSTS)
    space = ForeignSpace()
    before = space.first["narrow"].weight.detach().clone()
    run_one_shot(strategy, space, epochs=2, clips=strategy_class is not RandomOneShot)
    assert not torch.equal(space.first["narrow"].weight, before)
    (model,) = strategy.list_models()
    assert model.sample["second"] == "narrow", "a wide second layer costs more than the budget"


# --- costs


def test_profiled_costs_are_those_of_an_independent_count() -> None:
    """Hand-computed MACs of convolutions without bias; parameters of the frozen networks."""
    space = ForeignSpace()
    table = profiled_costs(space, torch.zeros(1, 1, 8, 8))
    assert tuple(table.candidates) == ("first", "second")
    for first, second in itertools.product(("narrow", "wide"), repeat=2):
        sample = {"first": first, "second": second}
        assert table.cost(sample) == FOREIGN_COSTS.cost(sample)
        assert table.cost(sample)["params"] == count_params(space.freeze(sample))
    for by_label in table.costs.values():
        assert all(values.min() == 0 for values in by_label.values()), "what is common is not a label's"


def test_profiling_leaves_the_space_as_it_was() -> None:
    class Normed(ForeignSpace):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.classifier(self.norm(self.first(x)).mean((2, 3)) + self.second(self.first(x)).mean((2, 3)))

    space = Normed().train()
    state = {name: tensor.clone() for name, tensor in space.state_dict().items()}
    profiled_costs(space, torch.ones(2, 1, 8, 8))
    assert space.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in space.state_dict().items())
    assert not any(module._forward_hooks for module in space.modules())


def test_values_that_are_numbers_are_profiled() -> None:
    class Kernels(ModelSpace):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = (
                MutableConv2d(1, 1, nni.choice(name, [1, 3]), padding=1) for name in ("first", "second")
            )
            self.head = nn.AdaptiveAvgPool2d(1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.first(x))

    class Added(Kernels):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.first(x)) + self.head(self.second(x))

    table = profiled_costs(Added(), torch.zeros(1, 1, 8, 8))
    assert table.candidates == {"first": (1, 3), "second": (1, 3)}
    # a kernel of 1 with padding 1 gives 10 x 10 results of 1 MAC, one of 3 gives 8 x 8 of 9
    assert [table.cost({"first": a, "second": 1})["macs"] for a in (1, 3)] == [200, 100 + 576]
    assert [table.cost({"first": 1, "second": a})["params"] for a in (1, 3)] == [4, 12]


def test_costs_that_multiply_are_refused() -> None:
    class Widths(ModelSpace):
        def __init__(self) -> None:
            super().__init__()
            first, second = (nni.choice(name, [2, 4]) for name in ("first", "second"))
            self.body = nn.Sequential(MutableConv2d(1, first, 1), MutableConv2d(first, second, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x)

    with pytest.raises(
        InvalidRequest, match=r"space: the macs of Widths are not a sum over its labels \(a sample costs"
    ):
        profiled_costs(Widths(), torch.zeros(1, 1, 4, 4))


def test_modules_that_the_profiler_does_not_count_are_refused() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            return x

    class Scaled(ForeignSpace):
        def __init__(self) -> None:
            super().__init__()
            self.scale = Scale()

        def forward(self, x: Tensor) -> Tensor:
            return self.scale(super().forward(x))

    with pytest.raises(InvalidRequest, match=r"space: NNI's profiler finds \d+ of \d+ params of Scaled; register"):
        profiled_costs(Scaled(), torch.zeros(1, 1, 8, 8))


def test_networks_that_the_profiler_cannot_follow_are_refused() -> None:
    class Padded(ForeignSpace):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(nn.functional.pad(x, (1, 1, 1, 1)))

    with pytest.raises(InvalidRequest, match=r"space: NNI's profiler cannot follow Padded \(.*\); give costs=CostT"):
        profiled_costs(Padded(), torch.zeros(1, 1, 8, 8))


def test_a_space_without_costs_is_refused_with_the_remedy() -> None:
    with pytest.raises(InvalidRequest, match=r"ForeignSpace has no cost_table; give the strategy costs=CostTable"):
        GDAS(budget=Budget(max_macs=8000)).mutate_model(ForeignSpace())


def test_costs_of_another_space_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"costs: the candidates of label 'outer' are not those of the space"):
        GDAS(costs=FOREIGN_COSTS).mutate_model(Nested())
    more = CostTable(
        {**NESTED_COSTS.candidates, "extra": ("a",)},
        {"macs": {**NESTED_COSTS.costs["macs"], "extra": np.zeros(1, dtype=np.int64)}},
        {"macs": 0},
    )
    with pytest.raises(InvalidRequest, match=r"costs: label 'extra' is not in the space"):
        GDAS(costs=more).mutate_model(Nested())


def test_choices_of_several_inputs_are_refused() -> None:
    class Inputs(ModelSpace):
        def __init__(self) -> None:
            super().__init__()
            self.choice = InputChoice(3, 2, label="inputs")

        def forward(self, x: Tensor) -> Tensor:
            return self.choice([x, x, x])

    with pytest.raises(InvalidRequest, match=r"label 'inputs': CategoricalMultiple is not categorical"):
        Random(costs=FOREIGN_COSTS)._meet_space(Inputs())


def test_choices_in_the_evaluator_are_refused() -> None:
    evaluator = FunctionalEvaluator(lambda model, rate: None, rate=nni.choice("rate", [0.1, 0.2]))
    strategy = Random(costs=FOREIGN_COSTS)
    with pytest.raises(InvalidRequest, match=r"evaluator: label 'rate' has no costs; only the space may hold choices"):
        strategy(RawFormatModelSpace(ForeignSpace(), evaluator), SequentialExecutionEngine())
