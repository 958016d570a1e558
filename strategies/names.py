"""Strategies by name, for configs and the command line. Imports neither torch nor NNI."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.options import DifferentiableOptions, EvolutionOptions, SinglePathOptions


@dataclass(frozen=True)
class StrategyName:
    """A strategy that a config can name: what it does, and the class of its options."""

    summary: str
    options: type


STRATEGIES: dict[str, StrategyName] = {
    "gdas": StrategyName(
        "single-path differentiable search (GDAS): one sampled candidate a step; the default", SinglePathOptions
    ),
    "darts": StrategyName(
        "first-order DARTS over the full mixture: every candidate in every step, so slower and larger",
        DifferentiableOptions,
    ),
    "evolution": StrategyName(
        "regularized evolution; scores by inherited supernet weights or by a short training", EvolutionOptions
    ),
}
