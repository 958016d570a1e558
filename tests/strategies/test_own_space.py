"""All strategies on our own space, and through NNI's experiment. What they must keep on any space is tested apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nni
import numpy as np
import pytest
import torch
from helpers.spaces import FOREIGN_COSTS, ForeignSpace, run_one_shot, run_trials, small_space
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.experiment import NasExperiment, NasExperimentConfig

from search_space.candidates import SearchSpace
from search_space.network import Network
from search_space.space import SepConvSpace
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
)

ONE_SHOT = [DARTS, GDAS, GumbelDARTS, Proxyless, ENAS, RandomOneShot]


def exported(strategy: Any) -> dict[str, str]:
    return next(iter(strategy.list_models())).sample


def macs(network: Network) -> float:
    return float(sum(p.numel() for p in network.parameters()))


@pytest.mark.parametrize("strategy_class", ONE_SHOT)
def test_one_shot_strategies_export_inside_the_budget(strategy_class: Any) -> None:
    space = small_space()
    table = space.cost_table
    low, high = table.reachable()["macs"]
    budget = Budget(max_macs=low + (high - low) // 4, min_macs=low + (high - low) // 8)
    strategy = strategy_class(budget=budget)
    run_one_shot(strategy, space, clips=strategy_class is not RandomOneShot)
    sample = exported(strategy)
    assert budget.admits(table.cost(sample))
    assert isinstance(space.freeze(sample), Network)


@pytest.mark.parametrize(
    "make",
    [
        Random,
        GridSearch,
        lambda **common: TPE(n_startup_jobs=6, **common),
        lambda **common: RegularizedEvolution(population_size=6, sample_size=3, mutation_prob=0.4, **common),
    ],
    ids=["random", "grid", "tpe", "evolution"],
)
def test_multi_trial_strategies_score_new_networks_inside_the_budget(make: Any) -> None:
    space = small_space()
    low, high = space.cost_table.reachable()["macs"]
    budget = Budget(max_macs=low + (high - low) // 5)
    scored = run_trials(make(budget=budget), space, macs, 12)
    assert len({tuple(sample.values()) for sample, _ in scored}) == 12
    assert all(budget.admits(space.cost_table.cost(sample)) for sample, _ in scored)


def test_darts_mixes_all_candidates_and_gdas_runs_one() -> None:
    for strategy, expected in ((DARTS(), 2), (GDAS(), 1)):
        space = ForeignSpace()
        strategy.costs = FOREIGN_COSTS
        strategy.mutate_model(space)
        calls: list[int] = []
        for name in ("narrow", "wide"):
            space.first[name].register_forward_hook(lambda *_, calls=calls: calls.append(1))
        for module in (space.first, space.second):
            module.resample({})
        space(torch.zeros(1, 1, 8, 8))
        assert len(calls) == expected


def test_an_architecture_step_leaves_no_weight_gradient() -> None:
    """Only the weight step may move weights; computing their gradients in the other would cost a third more."""
    space = ForeignSpace()
    strategy = GDAS(costs=FOREIGN_COSTS)
    seen = []

    class Spy(GDAS):
        def configure_oneshot_module(self, training_module: Any) -> Any:
            module = super().configure_oneshot_module(training_module)
            update = module.budget_penalty.update

            def watch(alphas: Any) -> None:
                seen.append([p.grad for p in space.parameters() if not any(p is alpha for alpha in alphas.values())])
                update(alphas)

            module.budget_penalty.update = watch
            return module

    strategy = Spy(costs=FOREIGN_COSTS)
    run_one_shot(strategy, space, batch_size=32)  # one step
    assert len(seen) == 1
    assert all(gradient is None for gradient in seen[0])


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_nnis_experiment_launches_our_strategies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    space = small_space()
    low, high = space.cost_table.reachable()["macs"]
    budget = Budget(max_macs=low + (high - low) // 4)
    strategy = RegularizedEvolution(budget=budget, population_size=4, sample_size=2)
    config = NasExperimentConfig("sequential", "raw")
    config.max_trial_number = 6
    config.experiment_working_directory = str(tmp_path / "nni")
    experiment = NasExperiment(space, FunctionalEvaluator(_report_parameters), strategy, config)
    experiment.run()
    (best,) = experiment.export_top_models(formatter="dict")
    assert budget.admits(space.cost_table.cost(best))
    experiment.stop()


def _report_parameters(model: Network) -> None:
    nni.report_final_result(float(sum(p.numel() for p in model.parameters())))


def test_the_space_is_rebuilt_by_nni_from_a_sample() -> None:
    """What NNI's training services do in another process: make the model from class, arguments and sample."""
    space = SepConvSpace(SearchSpace.create(image_size=8, in_channels=1, classes=4, width=0.25))
    sample = space.search_space.cost_table.sample(np.zeros(11, dtype=int))
    rebuilt = SepConvSpace.frozen_factory(sample)(**space.args)
    assert list(rebuilt.state_dict()) == list(space.freeze(sample).state_dict())


def test_every_architecture_parameter_gets_a_task_gradient() -> None:
    """On the real supernet, whose blocks all take turns."""
    space = small_space()
    with torch.no_grad():
        for name, tensor in space.named_parameters():
            if name.endswith("norm.weight"):
                tensor.uniform_(0.5, 1.5)  # residual branches start at zero: as after some training
    largest: dict[str, float] = {}

    class Spy(GDAS):
        def configure_oneshot_module(self, training_module: Any) -> Any:
            module = super().configure_oneshot_module(training_module)
            add_gradients = module.budget_penalty.add_gradients

            def watch(alphas: Any) -> None:
                for label, alpha in alphas.items():
                    if alpha.grad is not None:
                        largest[label] = max(largest.get(label, 0.0), alpha.grad.norm().item())
                add_gradients(alphas)

            module.budget_penalty.add_gradients = watch
            return module

    run_one_shot(Spy(), space, epochs=11, batch_size=16)  # two steps an epoch, eleven blocks
    assert set(largest) == set(space.cost_table.labels)
    several = {label for label, values in space.cost_table.candidates.items() if len(values) > 1}
    assert min(largest[label] for label in several) > 1e-5, largest
