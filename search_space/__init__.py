"""sepnas's search space: operators, architectures, networks and their costs.

Needs torch, and `search_space.space` also NNI. Names are imported on first use, so that what needs no torch (the error
type, say) does not wait for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_space.architecture import Architecture, Block, Head, Stem
    from search_space.candidates import SearchSpace
    from search_space.cost_table import CostTable
    from search_space.errors import InvalidRequest
    from search_space.hand_designed import baseline, baselines
    from search_space.layer_cost import Cost
    from search_space.macro_definition import MacroDefinition
    from search_space.macro_file import load_macro, macro_from_dict, macro_to_dict
    from search_space.macros import macro
    from search_space.network import Network, build
    from search_space.network_cost import cost
    from search_space.notation import parse, to_text
    from search_space.presets import preset
    from search_space.registry import Operator, Slot, operators
    from search_space.serialization import from_json, load_architecture, save_architecture, to_json
    from search_space.weights import load_network, load_weights, save_weights

# No module may bear the name of something listed here: importing it would shadow the name.
_HOME = {
    "Architecture": "architecture",
    "Block": "architecture",
    "Cost": "layer_cost",
    "CostTable": "cost_table",
    "Head": "architecture",
    "InvalidRequest": "errors",
    "MacroDefinition": "macro_definition",
    "Network": "network",
    "Operator": "registry",
    "SearchSpace": "candidates",
    "Slot": "registry",
    "Stem": "architecture",
    "baseline": "hand_designed",
    "baselines": "hand_designed",
    "build": "network",
    "cost": "network_cost",
    "preset": "presets",
    "from_json": "serialization",
    "load_architecture": "serialization",
    "load_macro": "macro_file",
    "load_network": "weights",
    "load_weights": "weights",
    "macro": "macros",
    "macro_from_dict": "macro_file",
    "macro_to_dict": "macro_file",
    "operators": "registry",
    "parse": "notation",
    "save_architecture": "serialization",
    "save_weights": "weights",
    "to_json": "serialization",
    "to_text": "notation",
}

__all__ = [
    "Architecture",
    "Block",
    "Cost",
    "CostTable",
    "Head",
    "InvalidRequest",
    "MacroDefinition",
    "Network",
    "Operator",
    "SearchSpace",
    "Slot",
    "Stem",
    "baseline",
    "baselines",
    "build",
    "cost",
    "from_json",
    "load_architecture",
    "load_macro",
    "load_network",
    "load_weights",
    "macro",
    "macro_from_dict",
    "macro_to_dict",
    "operators",
    "parse",
    "preset",
    "save_architecture",
    "save_weights",
    "to_json",
    "to_text",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'search_space' has no attribute {name!r}")
    module = import_module(f"search_space.{_HOME[name]}")
    if name == "operators":  # the register is filled by importing the operators
        import_module("search_space.ops")
    return getattr(module, name)
