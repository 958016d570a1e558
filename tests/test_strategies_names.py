"""Strategies by name: every option of a config reaches its strategy, and wrong ones are refused in a line."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from inspect import signature
from typing import Any

import pytest
from nni.nas.strategy.base import Strategy
from strategy_spaces import FOREIGN_COSTS

import strategies
from search_space.base.errors import InvalidRequest
from strategies import STRATEGIES, Budget, make_multi_trial, make_one_shot
from strategies.names import StrategyName
from strategies.options import (
    DifferentiableOptions,
    EnasOptions,
    EvolutionOptions,
    GridOptions,
    GumbelOptions,
    MultiTrialOptions,
    NSGA2Options,
    PolicyRLOptions,
    RandomOneShotOptions,
    RandomOptions,
    SinglePathOptions,
    TpeOptions,
)

COMMON = {"budget", "costs", "seed", "gradient_clip_val", "mutation_hooks"}
every_strategy = pytest.mark.parametrize(("name", "strategy"), STRATEGIES.items(), ids=STRATEGIES)


def home(strategy: StrategyName) -> Any:
    module, _, cls = strategy.home.rpartition(".")
    return getattr(import_module(f"strategies.{module}"), cls)


def parameters(cls: Any) -> dict[str, Any]:
    """{name: default} of everything that a class or the classes that it hands keywords on to can be given."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if base.__module__.startswith("strategies.") and "__init__" in vars(base):
            own = signature(base.__init__).parameters.values()
            found = {p.name: p.default for p in own if p.kind is p.KEYWORD_ONLY} | found
            if not any(p.kind is p.VAR_KEYWORD for p in own):
                break
    return found


def test_the_family_is_there() -> None:
    assert list(STRATEGIES) == [
        *("gdas", "darts", "gumbel-darts", "proxyless", "enas"),
        *("evolution", "nsga2", "random", "random-one-shot", "tpe", "grid", "policy-rl"),
    ]


@every_strategy
def test_options_are_those_of_the_class_with_its_defaults(name: str, strategy: StrategyName) -> None:
    arguments = strategy.options().arguments()
    known = parameters(home(strategy))
    assert set(arguments) <= set(known)
    if name == "policy-rl":  # its update is given in parts, its policy in code
        assert arguments.pop("update_kwargs") == {"batch_size": 32, "repeat": 5, "update_times": 5}
        known.pop("policy_fn")
        known.pop("update_kwargs")
    if name in ("darts", "proxyless"):
        known.pop("temperature")  # for sampled relaxations only
    assert arguments == {key: default for key, default in known.items() if key not in COMMON}


@every_strategy
def test_every_option_is_documented(name: str, strategy: StrategyName) -> None:
    text = "".join(cls.__doc__ or "" for cls in strategy.options.__mro__ if cls is not object)
    for option in fields(strategy.options):
        assert f" {option.name}: " in text, option.name


CHANGED: dict[str, Any] = {
    "gdas": SinglePathOptions(0.01, (0.1, 0.2), 0.5, 1, 0.3, 4, 3.0, 0.7),
    "darts": DifferentiableOptions(0.01, (0.1, 0.2), 0.5, 1, 0.3, 4),
    "gumbel-darts": GumbelOptions(0.01, (0.1, 0.2), 0.5, 1, 0.3, 4, 3.0, 0.7),
    "proxyless": DifferentiableOptions(0.01, (0.1, 0.2), 0.5, 1, 0.3, 4),
    "enas": EnasOptions(0.01, 7, 0.2, "f1", 2, 3),
}


@pytest.mark.parametrize("name", CHANGED)
def test_one_shot_options_arrive(name: str) -> None:
    budget = Budget(max_macs=1000)
    strategy: Any = make_one_shot(
        name, CHANGED[name], budget=budget, costs=FOREIGN_COSTS, gradient_clip_val=2.5, seed=9
    )
    assert isinstance(strategy, home(STRATEGIES[name]))
    assert isinstance(strategy, Strategy)
    assert (strategy.budget, strategy.costs, strategy.seed, strategy.gradient_clip_val) == (
        *(budget, FOREIGN_COSTS, 9, 2.5),
    )
    for option, value in CHANGED[name].arguments().items():
        own = getattr(strategy, option)
        assert ((own.init, own.min) if option == "temperature" else own) == value, option
        assert value != STRATEGIES[name].options().arguments()[option], option


MORE: dict[str, Any] = {
    "random": RandomOptions(dedup=False),
    "random-one-shot": RandomOneShotOptions(dedup=False),
    "grid": GridOptions(shuffle=False),
    "tpe": TpeOptions(n_startup_jobs=3, n_ei_candidates=4, linear_forgetting=5, prior_weight=0.5, gamma=0.6),
    "nsga2": NSGA2Options(population_size=9, crossover_prob=0.3, mutation_prob=0.2, objectives=("params",)),
    "evolution": EvolutionOptions(population_size=9, sample_size=3, mutation_prob=0.3, crossover=True, dedup=False),
}


@pytest.mark.parametrize("name", MORE)
def test_multi_trial_options_arrive(name: str) -> None:
    strategy: Any = make_multi_trial(name, MORE[name], costs=FOREIGN_COSTS, seed=3)
    assert isinstance(strategy, home(STRATEGIES[name]))
    for option, value in MORE[name].arguments().items():
        assert getattr(strategy, option) == value, option
        assert value != STRATEGIES[name].options().arguments()[option], option


def test_a_population_never_exceeds_the_trials() -> None:
    arguments = EvolutionOptions(trials=3, population_size=10, sample_size=5).arguments()
    assert (arguments["population_size"], arguments["sample_size"]) == (3, 3)


def test_strategies_of_the_other_kind_and_options_of_others_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"strategy\.name: 'random' is no one-shot strategy; those are gdas, dar"):
        make_one_shot("random", DifferentiableOptions())
    with pytest.raises(InvalidRequest, match=r"strategy\.name: 'gdas' is no multi-trial strategy; those are evolution"):
        make_multi_trial("gdas", RandomOptions())
    with pytest.raises(
        InvalidRequest, match=r"strategy\.options: TpeOptions are not the options of grid; give GridOptions"
    ):
        make_multi_trial("grid", TpeOptions())


@pytest.mark.parametrize(
    ("options", "values", "message"),
    [
        (DifferentiableOptions, {"arc_learning_rate": 0}, "arc_learning_rate: 0 must be above 0"),
        (DifferentiableOptions, {"arc_betas": (0.5, 1.0)}, "arc_betas: (0.5, 1.0) must be at least 0 and below 1"),
        (DifferentiableOptions, {"log_prob_every_n_step": 0}, "log_prob_every_n_step: 0 must be at least 1"),
        (DifferentiableOptions, {"warmup_epochs": -1}, "warmup_epochs: -1 must not be negative"),
        (
            GumbelOptions,
            {"temperature_last": 2.0},
            "temperature_last: 2.0 must be above 0 and at most temperature_first (1.0)",
        ),
        (EnasOptions, {"batches_per_update": 1}, "batches_per_update: 1 must be at least 2"),
        (EnasOptions, {"policy_learning_rate": 0.0}, "policy_learning_rate: 0.0 must be above 0"),
        (RandomOptions, {"trials": 0}, "trials: 0 must be at least 1"),
        (GridOptions, {"calibration_images": 1}, "calibration_images: 1 must be at least 2"),
        (
            TpeOptions,
            {"calibration_images": 512, "scoring": "training"},
            "calibration_images: 512 has no effect with scoring 'training'; leave it out",
        ),
        (TpeOptions, {"gamma": 0}, "gamma: 0 must be above 0"),
        (TpeOptions, {"n_ei_candidates": 0}, "n_ei_candidates: 0 must be at least 1"),
        (EvolutionOptions, {"sample_size": 21}, "sample_size: 21 must be between 1 and population_size (20)"),
        (EvolutionOptions, {"mutation_prob": 0.0}, "mutation_prob: 0.0 must be above 0 and at most 1"),
        (PolicyRLOptions, {"replay_buffer_size": 0}, "replay_buffer_size: 0 must be at least 1"),
    ],
)
def test_wrong_values_are_refused_by_name(options: type, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        options(**values)
    assert str(caught.value) == f"strategy.options.{message}"


def test_calibration_images_have_a_default_where_they_have_an_effect() -> None:
    assert MultiTrialOptions().images_to_calibrate == 1024
    assert MultiTrialOptions(calibration_images=64).images_to_calibrate == 64
    MultiTrialOptions(scoring="training")


def test_names_need_neither_torch_nor_nni() -> None:
    script = "import sys, strategies; strategies.STRATEGIES; print(*(m for m in ('torch', 'nni') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_public_names_are_those_of_their_home() -> None:
    assert set(strategies.__all__) <= set(dir(strategies))
    for name in strategies.__all__:
        assert getattr(strategies, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        strategies.nothing  # noqa: B018
