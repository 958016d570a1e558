"""The registry: every option of a config reaches its strategy, and wrong ones are refused in a line."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import MISSING, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from helpers.spaces import FOREIGN_COSTS
from nni.nas.strategy.base import Strategy

import strategies
from search_space.base.errors import InvalidRequest
from strategies import STRATEGIES, Budget, FeasibleSet, MultiTrial, make
from strategies.multi_trial._proposer import Proposer
from strategies.multi_trial.evolution import EvolutionOptions
from strategies.multi_trial.grid import GridOptions
from strategies.multi_trial.policy_rl import PolicyRLOptions
from strategies.multi_trial.random import RandomOptions
from strategies.multi_trial.tpe import TpeOptions
from strategies.one_shot.base import OneShotSearch
from strategies.one_shot.options import DifferentiableOptions, EnasOptions, GumbelOptions, SinglePathOptions
from strategies.options import MultiTrialOptions, OneShotOptions
from strategies.registry import RegisteredStrategy, register

needs_tianshou = pytest.mark.skipif(find_spec("tianshou") is None, reason="tianshou is an optional dependency")
every_strategy = pytest.mark.parametrize(
    "strategy",
    [pytest.param(s, id=s.name, marks=needs_tianshou if s.name == "policy-rl" else ()) for s in STRATEGIES.values()],
)


def test_the_family_is_there() -> None:
    kinds = {name: strategy.kind for name, strategy in STRATEGIES.items()}
    assert [name for name, kind in kinds.items() if kind == "one-shot"] == [
        *("darts", "enas", "gdas", "gumbel-darts", "proxyless")
    ]
    assert [name for name, kind in kinds.items() if kind == "multi-trial"] == [
        *("evolution", "grid", "halving", "nsga2", "policy-rl", "predictor", "random", "random-one-shot", "tpe")
    ]
    assert all(strategy.name == name for name, strategy in STRATEGIES.items())


@every_strategy
def test_every_option_is_documented_and_has_a_default(strategy: RegisteredStrategy) -> None:
    text = "".join(cls.__doc__ or "" for cls in strategy.options.__mro__ if cls is not object)
    for option in fields(strategy.options):
        assert f"\n        {option.name}: " in text, option.name
        assert option.default is not MISSING or option.default_factory is not MISSING


@every_strategy
def test_it_is_of_its_kind(strategy: RegisteredStrategy) -> None:
    base = {"one-shot": OneShotSearch, "multi-trial": Proposer}[strategy.kind]
    assert issubclass(strategy.load(), base)
    assert issubclass(strategy.options, {"one-shot": OneShotOptions, "multi-trial": MultiTrialOptions}[strategy.kind])
    made = make(strategy.name, costs=FOREIGN_COSTS)
    assert isinstance(made, Strategy)
    assert made.name == strategy.name


def other(value: Any) -> Any:
    """Another value of an option of any kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2
    if isinstance(value, tuple):
        return value[:1] if isinstance(value[0], str) else tuple(v / 2 for v in value)
    return None


@every_strategy
def test_options_arrive(strategy: RegisteredStrategy) -> None:
    budget, default = Budget(max_macs=10**6), strategy.options()
    changed = {option.name: other(getattr(default, option.name)) for option in fields(default)}
    changed = {name: value for name, value in changed.items() if value is not None}
    options = strategy.options(**changed)
    for made in (
        make(strategy.name, options, budget=budget, costs=FOREIGN_COSTS, seed=9),
        make(strategy.name, **changed, budget=budget, costs=FOREIGN_COSTS, seed=9),
        make(strategy.name, default, **changed, feasible=FeasibleSet(FOREIGN_COSTS, budget), seed=9),
    ):
        assert made.options == options != default
        assert (made.budget, made.costs, made.seed) == (budget, FOREIGN_COSTS, 9)


def test_gradients_are_clipped_by_one_shot_strategies() -> None:
    assert make("gdas", costs=FOREIGN_COSTS, gradient_clip_val=2.5).gradient_clip_val == 2.5


def test_public_classes_know_their_names() -> None:
    named = {getattr(strategies, name) for name in strategies.__all__ if hasattr(getattr(strategies, name), "name")}
    assert {cls.name for cls in named - {MultiTrial}} == set(STRATEGIES) - {"random-one-shot"}


def test_a_population_never_exceeds_the_trials() -> None:
    options = EvolutionOptions(trials=3, population_size=10, sample_size=5)
    assert options.for_trials() == replace(options, population_size=3, sample_size=3)


def test_unknown_names_and_options_of_others_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"strategy\.name: 'gads' is unknown; .*did you mean gdas\?"):
        make("gads")
    with pytest.raises(
        InvalidRequest, match=r"strategy\.options: TpeOptions are not the options of grid; give GridOptions"
    ):
        make("grid", TpeOptions())


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="'grid' is registered twice"):
        register("grid", "again", GridOptions, Proposer)


def test_a_proven_budget_is_not_proven_again(monkeypatch: pytest.MonkeyPatch) -> None:
    feasible = FeasibleSet(FOREIGN_COSTS, Budget(max_macs=8000))
    with pytest.raises(InvalidRequest, match="feasible: it brings a budget and costs of its own; leave budget and"):
        make("gdas", feasible=feasible, budget=Budget())
    monkeypatch.setattr(FeasibleSet, "__init__", None)
    for name in ("gdas", "enas", "evolution"):
        assert make(name, feasible=feasible).feasible is feasible


@pytest.mark.parametrize(
    ("options", "values", "message"),
    [
        (DifferentiableOptions, {"arc_learning_rate": 0}, "arc_learning_rate: 0 must be a number above 0"),
        (
            DifferentiableOptions,
            {"arc_betas": (0.5, 1.0)},
            "arc_betas[1]: 1.0 must be a number of at least 0 and below 1",
        ),
        (DifferentiableOptions, {"arc_betas": (0.5,)}, "arc_betas: [0.5] must be two numbers"),
        (DifferentiableOptions, {"log_prob_every_n_step": 0}, "log_prob_every_n_step: 0 must be a whole number of at"),
        (DifferentiableOptions, {"warmup_epochs": -1}, "warmup_epochs: -1 must be a whole number of at least 0"),
        (GumbelOptions, {"temperature_last": 2.0}, "temperature_last: 2.0 must be at most temperature_first (1.0)"),
        (GumbelOptions, {"temperature_last": 0.0}, "temperature_last: 0.0 must be a number above 0"),
        (EnasOptions, {"paths_per_step": 1}, "paths_per_step: 1 must be a whole number of at least 2"),
        (SinglePathOptions, {"candidates_per_step": 1}, "candidates_per_step: 1 must be a whole number of at least 2"),
        (EnasOptions, {"policy_learning_rate": 0.0}, "policy_learning_rate: 0.0 must be a number above 0"),
        (RandomOptions, {"trials": 0}, "trials: 0 must be a whole number of at least 1"),
        (RandomOptions, {"trials": "ten"}, "trials: 'ten' must be a whole number of at least 1"),
        (GridOptions, {"calibration_images": 1}, "calibration_images: 1 must be a whole number of at least 2"),
        (
            TpeOptions,
            {"calibration_images": 512, "scoring": "training"},
            "calibration_images: 512 has no effect with scoring 'training'; leave it out",
        ),
        (TpeOptions, {"scoring": "trainings"}, "scoring: 'trainings' is unknown; known are supernet, training"),
        (TpeOptions, {"gamma": 0}, "gamma: 0 must be a number above 0"),
        (TpeOptions, {"n_ei_candidates": 0}, "n_ei_candidates: 0 must be a whole number of at least 1"),
        (EvolutionOptions, {"sample_size": 21}, "sample_size: 21 must be at most population_size (10)"),
        (EvolutionOptions, {"mutation_prob": 0.0}, "mutation_prob: 0.0 must be a number above 0 and at most 1"),
        (PolicyRLOptions, {"replay_buffer_size": 0}, "replay_buffer_size: 0 must be a whole number of at least 1"),
    ],
)
def test_wrong_values_are_refused_by_name(options: type, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        options(**values)
    assert str(caught.value).startswith(f"strategy.options.{message}")
    assert "\n" not in str(caught.value)


def test_calibration_images_have_a_default_where_they_have_an_effect() -> None:
    assert MultiTrialOptions().images_to_calibrate == 1024
    assert MultiTrialOptions(calibration_images=64).images_to_calibrate == 64
    MultiTrialOptions(scoring="training")


def test_the_registry_needs_neither_torch_nor_nni() -> None:
    script = "import sys, strategies; strategies.STRATEGIES; print(*(m for m in ('torch', 'nni') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("first", ["strategies.one_shot.options", "strategies.multi_trial.tpe", "strategies.registry"])
def test_the_order_of_strategies_does_not_depend_on_what_is_imported_first(first: str) -> None:
    script = f"import {first}; from strategies.registry import STRATEGIES; print(*STRATEGIES)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(STRATEGIES)


def test_a_one_shot_strategy_may_be_the_first_import() -> None:
    """NNI's packages import each other in a circle, and entered at the wrong place NNI's strategies are missing."""
    script = "from strategies import GDAS; GDAS; from nni.nas.strategy import DARTS; print(DARTS.__module__)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "nni.nas.oneshot.pytorch.strategy"


def test_public_names_are_those_of_their_home() -> None:
    assert set(strategies.__all__) <= set(dir(strategies))
    for name in strategies.__all__:
        assert getattr(strategies, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        strategies.nothing  # noqa: B018


def test_the_examples_of_the_package_run_and_add_a_strategy(tmp_path: Path) -> None:
    """In another process, as they register a strategy."""
    text = Path(strategies.__file__).with_name("README.md").read_text(encoding="utf-8")
    code = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    script = tmp_path / "example.py"
    script.write_text(f"{code}\nmade = make('local', feasible=feasible, mutation_prob=0.5)\nprint(made.options)\n")
    command = [sys.executable, "-W", "ignore", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("LocalOptions(trials=100")
    assert "mutation_prob=0.5" in done.stdout
