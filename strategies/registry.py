"""All strategies by name: what configs, ``sepnas list strategies`` and the contract tests follow.

A multi-trial strategy is registered in its own file of `strategies.multi_trial`, a one-shot strategy in
`strategies.one_shot.options`. Neither torch nor NNI is imported before a strategy is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from search_space.base.checks import unknown
from search_space.base.errors import InvalidRequest
from strategies.options import Kind, StrategyOptions


@dataclass(frozen=True)
class RegisteredStrategy:
    """A strategy that a config can name.

    Attributes:
        name: what it is called in configs.
        summary: what it does, in a line.
        options: class of its options.
        implementation: module and class, such as ``"strategies.multi_trial.evolution.EvolutionProposer"``.
    """

    name: str
    summary: str
    options: type[StrategyOptions]
    implementation: str

    @property
    def kind(self) -> Kind:
        """How it searches; see `StrategyOptions.kind`."""
        return self.options.kind

    def load(self) -> Any:
        """The class that implements it: an NNI strategy if it is one-shot, a plain `Proposer` if it is multi-trial."""
        module, _, cls = self.implementation.rpartition(".")
        return getattr(import_module(module), cls)

    def options_from(self, options: StrategyOptions | None, values: Mapping[str, Any]) -> Any:
        """``options``, or the defaults, with single ``values`` changed; InvalidRequest for another strategy's."""
        if options is not None and type(options) is not self.options:
            raise InvalidRequest(
                f"strategy.options: {type(options).__name__} are not the options of {self.name};"
                f" give {self.options.__name__}"
            )
        return self.options(**values) if options is None else replace(options, **values)


#: Every strategy by its name, the one-shot ones first.
STRATEGIES: dict[str, RegisteredStrategy] = {}


def register(name: str, summary: str, options: type[StrategyOptions], implementation: type | str) -> None:
    """Make a strategy known by ``name``; ``implementation`` is a `Proposer` class, or the full name of a one-shot
    strategy's, so that torch waits until it is needed."""
    if name in STRATEGIES:
        raise ValueError(f"strategy {name!r} is registered twice")
    if isinstance(implementation, type):
        implementation = f"{implementation.__module__}.{implementation.__qualname__}"
    known = [*STRATEGIES.values(), RegisteredStrategy(name, summary, options, implementation)]
    # the order must not depend on which module is imported first
    known.sort(key=lambda strategy: (strategy.kind != "one-shot", strategy.name))
    STRATEGIES.clear()
    STRATEGIES.update({strategy.name: strategy for strategy in known})


def registered(name: str) -> RegisteredStrategy:
    """The strategy called ``name``; InvalidRequest if there is none."""
    if name not in STRATEGIES:
        raise unknown("strategy.name", name, STRATEGIES, "sepnas list strategies")
    return STRATEGIES[name]


def make(name: str, options: StrategyOptions | None = None, **values: Any) -> Any:
    """The strategy called ``name``, ready for ``strategy(model_space, engine)`` or an NNI ``NasExperiment``.

    Args:
        name: one of `STRATEGIES`.
        options: its options; by default ``values`` and the defaults of the others.
        values: ``budget``, ``costs`` and ``feasible`` (see `Budgeted`), ``seed`` of all draws (by default 0), single
            options by name; for one-shot strategies also ``gradient_clip_val`` and ``mutation_hooks``.

    InvalidRequest if the name is unknown or the options are those of another strategy.
    """
    if registered(name).kind == "one-shot":
        return registered(name).load()(options, **values)
    return import_module("strategies.adapter").MultiTrial(options, name=name, **values)


import_module("strategies.one_shot.options")
import_module("strategies.multi_trial")
