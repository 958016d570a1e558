"""NNI strategies under budgets. Names are imported on first use: `Budget` alone needs neither torch nor NNI."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strategies.budget import Budget, format_count, parse_count
    from strategies.differentiable import DARTS, GDAS
    from strategies.feasible import FeasibleSet, format_ranges
    from strategies.multi_trial import RegularizedEvolution
    from strategies.names import STRATEGIES
    from strategies.weight_sharing import RandomOneShot

_HOME = {
    "Budget": "budget",
    "DARTS": "differentiable",
    "FeasibleSet": "feasible",
    "GDAS": "differentiable",
    "RandomOneShot": "weight_sharing",
    "RegularizedEvolution": "multi_trial",
    "STRATEGIES": "names",
    "format_count": "budget",
    "format_ranges": "feasible",
    "parse_count": "budget",
}

__all__ = [
    "DARTS",
    "GDAS",
    "STRATEGIES",
    "Budget",
    "FeasibleSet",
    "RandomOneShot",
    "RegularizedEvolution",
    "format_count",
    "format_ranges",
    "parse_count",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'strategies' has no attribute {name!r}")
    return getattr(import_module(f"strategies.{_HOME[name]}"), name)
