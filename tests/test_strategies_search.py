"""All strategies on small spaces: inside the budget, seeded, usable on spaces of others, and through NNI itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nni
import numpy as np
import pytest
import torch
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.experiment import NasExperiment, NasExperimentConfig
from nni.nas.space import RawFormatModelSpace
from strategy_spaces import FOREIGN_COSTS, ForeignSpace, run_one_shot, small_space

from search_space.errors import InvalidRequest
from search_space.network import Network
from search_space.space import SepConvSpace
from strategies import DARTS, GDAS, Budget, RandomOneShot, RegularizedEvolution

ONE_SHOT = [DARTS, GDAS, RandomOneShot]


def evolve(
    space: Any, score: Callable[[Any], float], *, trials: int, **options: Any
) -> list[tuple[dict[str, str], float]]:
    """Run evolution with a scoring function; returns (sample, metric) in order."""

    def evaluate(model: Any) -> None:
        nni.report_final_result(score(model))

    engine = SequentialExecutionEngine(max_model_count=trials)
    RegularizedEvolution(**options)(RawFormatModelSpace(space, FunctionalEvaluator(evaluate)), engine)
    return [(model.sample, model.metric) for model in engine.list_models()]


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


def test_every_export_is_the_most_probable_one_inside_over_many_budgets() -> None:
    """The contract over 100 random budgets and architecture parameters; training changes nothing about it."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        space = small_space()
        table = space.cost_table
        ends = {
            metric: sorted(rng.integers(low, high + 1, 2).tolist()) for metric, (low, high) in table.reachable().items()
        }
        strategy = GDAS(budget=Budget(max_macs=ends["macs"][1], max_params=ends["params"][1]))
        try:
            strategy.mutate_model(space)
        except InvalidRequest:
            continue
        with torch.no_grad():
            for alpha in strategy._arch_parameters.values():
                alpha.copy_(torch.tensor(rng.normal(size=len(alpha))))
        sample = strategy.export_sample()
        assert strategy.budget.admits(table.cost(sample))
        # no single change that stays inside is more probable
        scores = strategy.log_probabilities()
        for label, values in table.candidates.items():
            for name in values:
                if strategy.budget.admits(table.cost({**sample, label: name})):
                    assert scores[label][values.index(name)] <= scores[label][values.index(sample[label])] + 1e-9


@pytest.mark.parametrize("strategy_class", ONE_SHOT)
def test_an_impossible_budget_is_refused_before_any_step(strategy_class: Any) -> None:
    space = small_space()
    before = {name: tensor.clone() for name, tensor in space.state_dict().items()}
    with pytest.raises(InvalidRequest, match=r"budget\.max_macs: 1 is below the smallest architecture"):
        run_one_shot(strategy_class(budget=Budget(max_macs=1)), space)
    assert all(torch.equal(tensor, before[name]) for name, tensor in space.state_dict().items())


def test_evolution_refuses_an_impossible_budget_before_any_trial() -> None:
    def never(model: Network) -> float:
        raise AssertionError("a trial was started")

    with pytest.raises(InvalidRequest, match=r"budget\.min_params: .* is above the largest"):
        evolve(small_space(), never, trials=1, budget=Budget(min_params="1G"))


@pytest.mark.parametrize("crossover", [False, True])
def test_every_individual_of_evolution_is_inside(crossover: bool) -> None:
    space = small_space()
    low, high = space.cost_table.reachable()["macs"]
    budget = Budget(max_macs=low + (high - low) // 5)
    seen = evolve(
        space, macs, trials=60, budget=budget, population_size=15, sample_size=4, mutation_prob=0.4, crossover=crossover
    )
    assert len(seen) == 60
    assert all(budget.admits(space.cost_table.cost(sample)) for sample, _ in seen)
    assert len({tuple(sample.values()) for sample, _ in seen}) == 60, "duplicates were trained"


def test_evolution_finds_more_than_its_first_population() -> None:
    """The score is the share of `skip`; evolution must climb well above what random draws give."""
    space = small_space()
    seen = evolve(
        space,
        lambda network: sum(block.is_skip for block in network.architecture.blocks) / 11,
        trials=120,
        population_size=20,
        sample_size=8,
        mutation_prob=0.15,
    )
    scores = [score for _, score in seen]
    assert np.mean(scores[-20:]) > np.mean(scores[:20]) + 0.1


@pytest.mark.parametrize("seeds", [(3, 3), (3, 4)])
def test_same_seed_same_sequence_other_seed_another(seeds: tuple[int, int]) -> None:
    first, second = (
        [sample for sample, _ in evolve(small_space(), macs, trials=25, population_size=10, seed=seed)]
        for seed in seeds
    )
    assert (first == second) is (seeds[0] == seeds[1])


@pytest.mark.parametrize("strategy_class", ONE_SHOT)
def test_one_shot_strategies_repeat_for_a_seed(strategy_class: Any) -> None:
    results = []
    for seed in (5, 5, 6):
        torch.manual_seed(0)
        space = small_space()
        torch.manual_seed(100 + seed)  # the strategy must not depend on the global state
        strategy = strategy_class(seed=seed)
        run_one_shot(strategy, space, epochs=2, clips=strategy_class is not RandomOneShot)
        results.append({name: tensor.clone() for name, tensor in space.state_dict().items()})
    same = [
        all(torch.equal(a, b) for a, b in zip(results[0].values(), other.values(), strict=True))
        for other in results[1:]
    ]
    assert same == [True, False]


def test_a_metric_that_is_not_a_number_never_becomes_a_parent() -> None:
    space = small_space()

    def score(network: Network) -> float:
        return math.nan if network.architecture.blocks[2].is_skip else 0.5

    strategy = RegularizedEvolution(population_size=10, sample_size=10)
    evaluator = FunctionalEvaluator(lambda model: nni.report_final_result(score(model)))
    strategy(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine(max_model_count=20))
    assert any(math.isnan(individual.y) for individual in strategy._population), "the case did not arise"
    assert all(strategy.best_parent()["block02"] != "skip" for _ in range(50))


@pytest.mark.parametrize("strategy_class", ONE_SHOT)
def test_spaces_of_others_run_under_a_budget(strategy_class: Any) -> None:
    space = ForeignSpace()
    strategy = strategy_class(budget=Budget(max_macs=8000), costs=FOREIGN_COSTS)
    run_one_shot(strategy, space, clips=strategy_class is not RandomOneShot)
    sample = strategy.export_sample() if hasattr(strategy, "export_sample") else strategy.feasible.random(strategy.rng)
    assert sample["second"] == "narrow", "a wide second layer costs more than the budget"


def test_evolution_runs_on_spaces_of_others() -> None:
    seen = evolve(
        ForeignSpace(),
        lambda model: float(sum(p.numel() for p in model.parameters())),
        trials=2,
        population_size=2,
        sample_size=1,
        budget=Budget(max_macs=8000),
        costs=FOREIGN_COSTS,
    )
    assert sorted(sample["first"] for sample, _ in seen) == ["narrow", "wide"]
    assert {sample["second"] for sample, _ in seen} == {"narrow"}


def test_a_space_without_costs_is_refused_with_the_remedy() -> None:
    with pytest.raises(InvalidRequest, match=r"ForeignSpace has no cost_table; give the strategy costs=CostTable"):
        GDAS(budget=Budget(max_macs=8000)).mutate_model(ForeignSpace())


def test_costs_of_another_space_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"costs: the candidates of label 'block00' are not those of the space"):
        GDAS(costs=FOREIGN_COSTS).mutate_model(small_space())


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
    space = SepConvSpace(image_size=8, in_channels=1, classes=4, width=0.25)
    sample = space.search_space.cost_table.sample(np.zeros(11, dtype=int))
    rebuilt = SepConvSpace.frozen_factory(sample)(image_size=8, in_channels=1, classes=4, width=0.25)
    assert list(rebuilt.state_dict()) == list(space.freeze(sample).state_dict())


def test_every_architecture_parameter_gets_a_task_gradient() -> None:
    """On the real supernet, behind whose blocks batch norms would hide the scale of a whole output."""
    torch.manual_seed(0)
    space = SepConvSpace(width=0.25, operators=["dw_k3", "dw_k7", "xsep_k5", "sep_k3"])
    with torch.no_grad():
        for name, tensor in space.named_parameters():
            if name.endswith("norm.weight"):
                tensor.uniform_(0.5, 1.5)  # residual branches start at zero: as after some training
    strategy = GDAS()
    strategy.mutate_model(space)
    space.train()
    largest = dict.fromkeys(strategy._arch_parameters, 0.0)
    for draw in range(6):
        memo: dict[str, str] = {}
        for module in space.blocks:
            module.generator = torch.Generator().manual_seed(100 * draw + len(memo))
            memo.update(module.resample(memo))
        images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 10
        loss = torch.nn.functional.cross_entropy(space(images), labels)
        gradients = torch.autograd.grad(loss, list(strategy._arch_parameters.values()))
        for label, gradient in zip(largest, gradients, strict=True):
            largest[label] = max(largest[label], gradient.norm().item())
    assert min(largest.values()) > 1e-5, largest
