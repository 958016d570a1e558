"""Strategies made by name from their options."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from search_space.base.errors import InvalidRequest
from search_space.cost_table import CostTable
from strategies.budget.budget import Budget
from strategies.names import STRATEGIES, OneShotOptions, StrategyName
from strategies.options import MultiTrialOptions

if TYPE_CHECKING:
    from strategies.multi_trial.base import MultiTrial


class OneShotSearch(Protocol):
    """What all one-shot strategies that search have in common, besides being NNI strategies."""

    def __call__(self, model_space: Any, engine: Any) -> None:
        """Train the supernet and search."""

    def export_sample(self) -> dict[str, Any]:
        """The most probable architecture inside the budget, {label: value}; the same at every call."""

    def log_probabilities(self) -> dict[str, Any]:
        """{label: log-probability of each candidate, (candidates,)}."""


def make_one_shot(
    name: str,
    options: OneShotOptions,
    *,
    budget: Budget | None = None,
    costs: CostTable | None = None,
    gradient_clip_val: float | None = None,
    seed: int = 0,
) -> OneShotSearch:
    """The one-shot strategy that `STRATEGIES` lists under ``name``.

    ``gradient_clip_val`` clips the norm of the weights' gradient, which Lightning leaves to the strategy.
    InvalidRequest for another kind of strategy or options of another one.
    """
    strategy = _find(name, "one-shot", options)
    common = {"budget": budget, "costs": costs, "gradient_clip_val": gradient_clip_val, "seed": seed}
    return _load(strategy)(**common, **options.arguments())


def make_multi_trial(
    name: str,
    options: MultiTrialOptions,
    *,
    budget: Budget | None = None,
    costs: CostTable | None = None,
    seed: int = 0,
) -> MultiTrial:
    """The multi-trial strategy that `STRATEGIES` lists under ``name``; InvalidRequest as for `make_one_shot`."""
    strategy = _find(name, "multi-trial", options)
    return _load(strategy)(budget=budget, costs=costs, seed=seed, **options.arguments())


def _find(name: str, kind: str, options: object) -> StrategyName:
    known = [known for known, strategy in STRATEGIES.items() if strategy.kind == kind]
    if name not in known:
        raise InvalidRequest(f"strategy.name: {name!r} is no {kind} strategy; those are {', '.join(known)}")
    strategy = STRATEGIES[name]
    if type(options) is not strategy.options:
        raise InvalidRequest(
            f"strategy.options: {type(options).__name__} are not the options of {name};"
            f" give {strategy.options.__name__}"
        )
    return strategy


def _load(strategy: StrategyName) -> Any:
    module, _, cls = strategy.home.rpartition(".")
    return getattr(import_module(f"strategies.{module}"), cls)
