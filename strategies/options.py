"""Options of each strategy as values, checked before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from search_space.errors import InvalidRequest


@dataclass(frozen=True)
class DifferentiableOptions:
    """Options of the differentiable strategies.

    Attributes:
        arc_learning_rate: Adam's learning rate on the architecture parameters.
        arc_weight_decay: Adam's weight decay on them.
        warmup_epochs: epochs in which only weights are trained.
        multiplier_rate: how fast the budget's multipliers follow a violation, per architecture step.
    """

    arc_learning_rate: float = 0.05
    arc_weight_decay: float = 1e-3
    warmup_epochs: int = 0
    multiplier_rate: float = 0.2

    def __post_init__(self) -> None:
        for name in ("arc_learning_rate", "multiplier_rate"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "must be above 0")
        for name in ("arc_weight_decay", "warmup_epochs"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "must not be negative")


@dataclass(frozen=True)
class SinglePathOptions(DifferentiableOptions):
    """Options of ``gdas``: those of the differentiable strategies and the relaxation's temperature.

    Attributes:
        temperature_first: temperature of the Gumbel relaxation in the first epoch.
        temperature_last: temperature after the last epoch; linear in between.
    """

    temperature_first: float = 2.0
    temperature_last: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(
            0 < self.temperature_last <= self.temperature_first,
            "temperature_last",
            self.temperature_last,
            f"must be above 0 and at most temperature_first ({self.temperature_first})",
        )


@dataclass(frozen=True)
class EvolutionOptions:
    """Options of ``evolution``.

    Attributes:
        trials: architectures to score, the initial population included.
        population_size: individuals kept; the oldest goes when a new one comes.
        sample_size: individuals in a tournament; the best of them becomes a parent.
        mutation_prob: probability that a block's operator is drawn anew.
        crossover: mix two parents before mutating.
        scoring: "supernet" trains a supernet once and scores by inherited weights, "training" trains each candidate.
        calibration_images: training images on which batch-norm statistics are measured for each candidate.
    """

    trials: int = 100
    population_size: int = 20
    sample_size: int = 5
    mutation_prob: float = 0.1
    crossover: bool = False
    scoring: Literal["supernet", "training"] = "supernet"
    calibration_images: int = 1024

    def __post_init__(self) -> None:
        _require(self.trials >= 1, "trials", self.trials, "must be at least 1")
        _require(self.population_size >= 1, "population_size", self.population_size, "must be at least 1")
        _require(
            1 <= self.sample_size <= self.population_size,
            "sample_size",
            self.sample_size,
            f"must be between 1 and population_size ({self.population_size})",
        )
        _require(0 < self.mutation_prob <= 1, "mutation_prob", self.mutation_prob, "must be above 0 and at most 1")
        _require(self.calibration_images >= 2, "calibration_images", self.calibration_images, "must be at least 2")


def _require(condition: bool, name: str, value: object, reason: str) -> None:
    if not condition:
        raise InvalidRequest(f"strategy.options.{name}: {value!r} {reason}")
