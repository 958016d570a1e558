"""The contract of every strategy: inside the budget, seeded, refused early, resumable by replay."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from helpers.spaces import FOREIGN_COSTS, ForeignSpace, Landscape, random_budget, run_one_shot, run_table, small_images
from helpers.spaces import never as never_evaluated
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace

from evaluators.training.recipes import Recipe
from evaluators.training.supernet import supernet_evaluator
from search_space.base.errors import InvalidRequest
from search_space.cost_table import CostTable
from strategies import ENAS, STRATEGIES, Budget, FeasibleSet, Random, RandomOneShot, make

#: what makes strategies learn something in so few trials
OPTIONS: dict[str, dict[str, Any]] = {
    "evolution": {"population_size": 4, "sample_size": 2, "mutation_prob": 0.4},
    "evolution with crossover": {"population_size": 4, "sample_size": 2, "crossover": True},
    "nsga2": {"population_size": 4, "mutation_prob": 0.4},
    "policy-rl": {"samples_per_update": 4},
    "tpe": {"n_startup_jobs": 4},
}
needs_tianshou = pytest.mark.skipif(find_spec("tianshou") is None, reason="tianshou is an optional dependency")


def variants(kind: str, *without: str) -> list[Any]:
    """Every registered strategy of a kind, and `OPTIONS` of one under another heading, as pytest's parameters."""
    names = [name for name, strategy in STRATEGIES.items() if strategy.kind == kind]
    headings = [heading for heading in OPTIONS if heading not in names and heading.split()[0] in names]
    return [
        pytest.param(
            partial(make, heading.split()[0], **OPTIONS.get(heading, {})),
            id=heading,
            marks=needs_tianshou if heading == "policy-rl" else (),
        )
        for heading in [*names, *headings]
        if heading not in without
    ]


every_multi_trial = pytest.mark.parametrize("make", variants("multi-trial"))
#: a policy may propose an architecture again, as in NNI, and halving proposes the best again to train them on
every_thorough = pytest.mark.parametrize("make", variants("multi-trial", "policy-rl", "halving"))
every_one_shot = pytest.mark.parametrize("make", variants("one-shot"))


@every_multi_trial
def test_whatever_is_asked_for_is_inside_over_100_random_budgets(make: Callable[..., Any]) -> None:
    rng = np.random.default_rng(1)
    for seed in range(100):
        landscape = Landscape(seed, labels=4, values=4)
        budget = random_budget(rng, landscape.costs)
        asked = run_table(make(budget=budget, costs=landscape.costs, seed=seed), landscape, 6)
        assert asked
        for sample, metric in asked:
            assert budget.admits(landscape.costs.cost(sample)), budget
            assert metric == landscape(sample)


def set_beliefs(strategy: Any, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Give a one-shot strategy random logits as if it had been trained; returns them."""
    logits = {label: rng.normal(size=len(p)) for label, p in strategy.log_probabilities().items()}
    parameters = (
        strategy.policy.logits if isinstance(strategy, ENAS) else [strategy._arch_parameters[name] for name in logits]
    )
    with torch.no_grad():
        for parameter, values in zip(parameters, logits.values(), strict=True):
            parameter.copy_(torch.tensor(values))
    return logits


@every_one_shot
def test_every_export_is_the_most_probable_one_inside_over_100_random_budgets(make: Callable[..., Any]) -> None:
    rng = np.random.default_rng(2)
    for _ in range(100):
        costs = CostTable(
            FOREIGN_COSTS.candidates,
            {
                metric: {label: rng.integers(0, 1000, 2) for label in FOREIGN_COSTS.candidates}
                for metric in ("macs", "params")
            },
            {"macs": 3, "params": 4},
        )
        budget = random_budget(rng, costs)
        strategy = make(budget=budget, costs=costs)
        strategy.mutate_model(ForeignSpace())
        logits = set_beliefs(strategy, rng)
        every = [{"first": a, "second": b} for a in ("narrow", "wide") for b in ("narrow", "wide")]
        inside = [sample for sample in every if budget.admits(costs.cost(sample))]
        best = max(
            inside,
            key=lambda sample: sum(
                logits[label][("narrow", "wide").index(value)]  # softmax keeps the order of sums of logits
                for label, value in sample.items()
            ),
        )
        assert [strategy.export_sample() for _ in range(2)] == [best, best]


@every_multi_trial
def test_a_seed_gives_one_sequence(make: Callable[..., Any]) -> None:
    landscape = Landscape(0, labels=6, values=4)
    budget = Budget(max_macs=sum(landscape.costs.reachable()["macs"]) // 2)
    sequences = []
    for seed in (3, 3, 4):
        np.random.seed(len(sequences))  # noqa: NPY002 - the global state must not matter
        torch.manual_seed(len(sequences))
        strategy = make(budget=budget, costs=landscape.costs, seed=seed)
        sequences.append([sample for sample, _ in run_table(strategy, landscape, 12)])
    assert sequences[0] == sequences[1] != sequences[2]


@every_one_shot
def test_one_shot_strategies_repeat_for_a_seed(make: Callable[..., Any]) -> None:
    results = []
    for seed in (5, 5, 6):
        torch.manual_seed(0)
        space = ForeignSpace()
        torch.manual_seed(100 + len(results))  # the global state must not matter
        strategy = make(costs=FOREIGN_COSTS, seed=seed)
        run_one_shot(strategy, space, epochs=4)
        beliefs = np.concatenate(list(strategy.log_probabilities().values()))
        results.append((beliefs, torch.cat([p.detach().flatten() for p in space.first.parameters()])))
    assert np.array_equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert not torch.equal(results[0][1], results[2][1])


@every_multi_trial
def test_an_impossible_budget_is_refused_before_any_trial(make: Callable[..., Any]) -> None:
    landscape = Landscape(0, labels=3, values=2)
    strategy = make(budget=Budget(max_macs=1), costs=landscape.costs)
    with pytest.raises(InvalidRequest, match=r"budget\.max_macs: 1 is below the smallest architecture"):
        strategy(RawFormatModelSpace(landscape.space(), never_evaluated()), SequentialExecutionEngine())


@every_one_shot
def test_an_impossible_budget_is_refused_before_any_step(make: Callable[..., Any]) -> None:
    space = ForeignSpace()
    before = {name: tensor.clone() for name, tensor in space.state_dict().items()}
    with pytest.raises(InvalidRequest, match=r"budget\.max_macs: 1 is below the smallest architecture"):
        run_one_shot(make(budget=Budget(max_macs=1), costs=FOREIGN_COSTS), space)
    assert all(torch.equal(tensor, before[name]) for name, tensor in space.state_dict().items())


@every_multi_trial
def test_a_stopped_search_goes_on_as_if_it_had_not_stopped(make: Callable[..., Any]) -> None:
    landscape = Landscape(1, labels=6, values=4)

    def fresh(seed: int = 7) -> Any:
        return make(costs=landscape.costs, seed=seed)

    whole = run_table(fresh(), landscape, 20)
    first = fresh()
    run_table(first, landscape, 11)
    resumed = fresh()
    assert run_table(resumed, landscape, 9, state=first.state_dict()) == whole[11:]
    with pytest.raises(RuntimeError, match="state: architecture 1 is not what this strategy proposes"):
        run_table(fresh(seed=8), landscape, 1, state=first.state_dict())


def test_what_was_never_scored_is_asked_for_again() -> None:
    landscape = Landscape(1, labels=6, values=4)

    def strategy() -> Random:
        return Random(costs=landscape.costs, seed=7)

    whole = run_table(strategy(), landscape, 8)
    stopped = strategy()
    run_table(stopped, landscape, 5)
    state = stopped.state_dict()
    assert state["events"].pop()[0] == "tell"  # killed before the fifth score
    assert run_table(strategy(), landscape, 4, state=state) == whole[4:]


class Killed(Exception):
    """Stands for a kill signal."""


class KillAt(pl.Callback):
    """Stops a training at the start of an epoch."""

    def __init__(self, epoch: int | None) -> None:
        self.epoch = epoch
        self.seen: list[int] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            raise Killed
        self.seen.append(trainer.current_epoch)


@every_one_shot
def test_a_killed_one_shot_search_goes_on_as_if_it_had_not_been(make: Callable[..., Any], tmp_path: Path) -> None:
    """From the last whole epoch: weights, beliefs, moments of both optimizers, and the stream of paths."""
    ends = []
    for folder, kills in (("whole", [None]), ("killed", [2, None])):
        for kill in kills:
            torch.manual_seed(0)
            space = ForeignSpace()
            strategy = make(budget=Budget(max_macs=8000), costs=FOREIGN_COSTS)
            watch = KillAt(kill)
            evaluator = supernet_evaluator(
                small_images(),
                Recipe(epochs=4, batch_size=8, warmup_epochs=0, learning_rate=0.05),
                accelerator="cpu",
                folder=tmp_path / folder,
                clips_gradients=True,
                extra_callbacks=[watch],
            )
            with nullcontext() if kill is None else pytest.raises(Killed):
                strategy(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
        assert watch.seen == ([0, 1, 2, 3] if folder == "whole" else [2, 3])
        ends.append((strategy.log_probabilities(), {name: t.clone() for name, t in space.state_dict().items()}))
    for label, logs in ends[0][0].items():
        assert np.array_equal(logs, ends[1][0][label])
    assert all(torch.equal(tensor, ends[1][1][name]) for name, tensor in ends[0][1].items())


@every_multi_trial
def test_costs_of_ones_own_are_kept_too(make: Callable[..., Any]) -> None:
    landscape = Landscape(2, labels=5, values=4)
    rng = np.random.default_rng(0)
    latency = {
        label: dict(zip(values, rng.uniform(0, 2, 4), strict=True)) for label, values in landscape.candidates.items()
    }
    costs = landscape.costs.with_cost("latency_ms", latency, fixed=0.5)
    low, high = costs.reachable()["macs"]
    budget = Budget(max_macs=(low + high) // 2, max_costs={"latency_ms": 4.0})
    for sample, _ in run_table(make(budget=budget, costs=costs), landscape, 12):
        assert 0.5 + sum(latency[label][value] for label, value in sample.items()) <= 4.0
        assert costs.cost(sample)["macs"] <= (low + high) // 2


@every_thorough
def test_a_small_space_is_searched_to_the_end_and_no_further(make: Callable[..., Any]) -> None:
    landscape = Landscape(3, labels=3, values=4)
    low, high = landscape.costs.reachable()["macs"]
    for budget in (Budget(), Budget(max_macs=(low + high) // 2)):
        asked = run_table(make(budget=budget, costs=landscape.costs), landscape, 100)
        inside = [
            (a, b, c)
            for a in range(4)
            for b in range(4)
            for c in range(4)
            if budget.admits(landscape.costs.cost({"b0": a, "b1": b, "b2": c}))
        ]
        assert sorted(tuple(sample.values()) for sample, _ in asked) == inside


@every_thorough
def test_few_architectures_in_a_large_space_are_all_found(make: Callable[..., Any]) -> None:
    names = [f"b{index}" for index in range(12)]
    costs = CostTable(
        dict.fromkeys(names, ("small", "large", "huge")),
        {metric: {name: np.array([0, 10, 50]) for name in names} for metric in ("macs", "params")},
        {"macs": 0, "params": 0},
    )
    landscape = Landscape(0, labels=1)
    landscape.candidates, landscape.costs = dict(costs.candidates), costs
    strategy = make(budget=Budget(max_macs=10), costs=costs)
    asked = run_table(strategy, landscape, 30, score=lambda sample: float(sample["b0"] == "large"))
    # nothing but small ones, or a single large one; of 3**12 = 531,441
    assert sorted(list(sample.values()).count("large") for sample, _ in asked) == [0] + 12 * [1]
    assert len({tuple(sample.values()) for sample, _ in asked}) == 13


@every_thorough
def test_failed_trials_and_scores_that_are_no_numbers_do_not_lead(make: Callable[..., Any]) -> None:
    """`nan` for everything but one value of one label: what is best must still be listed first."""
    landscape = Landscape(3, labels=3, values=4)
    strategy = make(costs=landscape.costs)
    asked = run_table(strategy, landscape, 30, score=lambda sample: 0.5 if sample["b1"] == 2 else float("nan"))
    assert len(asked) == 30
    assert next(strategy.list_models(limit=1)).sample["b1"] == 2
    assert all(model.sample["b1"] == 2 for model in strategy.list_models())


@every_one_shot
def test_the_best_of_a_one_shot_search_are_listed_in_order(make: Callable[..., Any]) -> None:
    strategy = make(budget=Budget(max_macs=30_000), costs=FOREIGN_COSTS)
    strategy.mutate_model(ForeignSpace())
    logits = set_beliefs(strategy, np.random.default_rng(0))
    samples = strategy.export_samples(10)
    totals = [sum(logits[label][("narrow", "wide").index(v)] for label, v in sample.items()) for sample in samples]
    assert len(samples) == 3  # of four, the dearest is outside
    assert totals == sorted(totals, reverse=True)
    assert samples[0] == strategy.export_sample()


def test_supernets_are_trained_inside_the_budget_and_repeat_for_a_seed() -> None:
    budget = Budget(max_macs=8000)
    weights = []
    for seed in (5, 5, 6):
        torch.manual_seed(0)
        space = ForeignSpace()
        strategy = RandomOneShot(feasible=FeasibleSet(FOREIGN_COSTS, budget), seed=seed)
        run_one_shot(strategy, space, epochs=2, clips=False)
        assert budget.admits(FOREIGN_COSTS.cost(next(strategy.list_models()).sample))
        weights.append(torch.cat([p.detach().flatten() for p in space.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
