"""NNI strategies under budgets. Names are imported on first use: `Budget` alone needs neither torch nor NNI."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strategies.budget import Budget, format_count, parse_count
    from strategies.costs import profiled_costs
    from strategies.differentiable import DARTS, GDAS
    from strategies.enas import ENAS
    from strategies.evolution import RegularizedEvolution
    from strategies.factory import make_multi_trial, make_one_shot
    from strategies.feasible import FeasibleSet, format_ranges
    from strategies.grid_search import GridSearch
    from strategies.gumbel import GumbelDARTS
    from strategies.names import STRATEGIES
    from strategies.nsga2 import NSGA2
    from strategies.policy_rl import PolicyBasedRL
    from strategies.proxyless import Proxyless
    from strategies.random_search import Random
    from strategies.tpe import TPE
    from strategies.weight_sharing import RandomOneShot

_HOME = {
    "DARTS": "differentiable",
    "ENAS": "enas",
    "GDAS": "differentiable",
    "STRATEGIES": "names",
    "TPE": "tpe",
    "Budget": "budget",
    "FeasibleSet": "feasible",
    "GridSearch": "grid_search",
    "GumbelDARTS": "gumbel",
    "PolicyBasedRL": "policy_rl",
    "NSGA2": "nsga2",
    "Proxyless": "proxyless",
    "Random": "random_search",
    "RandomOneShot": "weight_sharing",
    "RegularizedEvolution": "evolution",
    "format_count": "budget",
    "format_ranges": "feasible",
    "make_multi_trial": "factory",
    "make_one_shot": "factory",
    "parse_count": "budget",
    "profiled_costs": "costs",
}

__all__ = [
    "DARTS",
    "ENAS",
    "GDAS",
    "NSGA2",
    "STRATEGIES",
    "TPE",
    "Budget",
    "FeasibleSet",
    "GridSearch",
    "GumbelDARTS",
    "PolicyBasedRL",
    "Proxyless",
    "Random",
    "RandomOneShot",
    "RegularizedEvolution",
    "format_count",
    "format_ranges",
    "make_multi_trial",
    "make_one_shot",
    "parse_count",
    "profiled_costs",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'strategies' has no attribute {name!r}")
    return getattr(import_module(f"strategies.{_HOME[name]}"), name)
