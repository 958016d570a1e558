"""What the options of all strategies have in common; each strategy's own stand beside it. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from search_space.base.checks import check_options, option, require

Kind = Literal["one-shot", "multi-trial"]
Score = Literal["validation_accuracy", "negative_validation_loss", "negative_training_loss"]
#: Options of `MultiTrialOptions` that have an effect only where candidates inherit a supernet's weights.
SUPERNET_ONLY = ("calibration_images", "sampling", "supernet_for")


@dataclass(frozen=True)
class StrategyOptions:
    """Options of a strategy, checked when they are made. A subclass states each as a field made by `option`."""

    #: "one-shot" searches while it trains one supernet; "multi-trial" scores one architecture after the other.
    kind: ClassVar[Kind]

    def __post_init__(self) -> None:
        check_options(self, "strategy.options")

    @property
    def inherits_weights(self) -> bool:
        """Whether candidates are scored with weights inherited from a supernet that was trained before."""
        return False

    @property
    def trains_supernet(self) -> bool:
        """Whether the search trains a supernet (or takes one that another search has trained)."""
        return self.kind == "one-shot" or self.inherits_weights

    @property
    def objectives_beside_accuracy(self) -> tuple[str, ...]:
        """Costs that the strategy minimises while it maximises the accuracy; empty if it looks at accuracy alone."""
        return ()

    def check_packages(self) -> None:
        """InvalidRequest, with the remedy, if an optional package that the strategy needs is not installed."""

    def check_names(self, costs: Collection[str], metrics: Collection[str]) -> None:
        """InvalidRequest if an option names a cost or a validation metric that is not among those given."""


@dataclass(frozen=True)
class OneShotOptions(StrategyOptions):
    """Options of every strategy that searches while it trains a supernet.

    Attributes:
        warmup_epochs: epochs in which only weights are trained.
        log_prob_every_n_step: steps between two logs of the state of the search.
    """

    kind = "one-shot"

    warmup_epochs: int = option(0, least=0)
    log_prob_every_n_step: int = option(10, least=1)


@dataclass(frozen=True)
class MultiTrialOptions(StrategyOptions):
    """Options of every strategy that scores one architecture after the other.

    Attributes:
        trials: architectures to score.
        scoring: "supernet" trains a supernet once and scores by inherited weights, "training" trains each candidate.
        calibration_images: training images on which batch-norm statistics are measured for each candidate; null for
            1024. Only with scoring "supernet".
        sampling: paths that the supernet is trained on: uniform (the default), fair (each candidate equally often,
            whatever the budget) or sandwich (the largest, the smallest and two random ones in each step, the largest
            teaching the others). Only with scoring "supernet".
        ahead: candidates that may be in training at once. A proposal waits for the scores of all but this many of the
            latest, so the result does not depend on the number of processes.
        supernet_for: "budget" (the default) trains the supernet inside the budget only, "space" on everything, so
            that other budgets can be searched with it. Only with scoring "supernet".
    """

    kind = "multi-trial"

    trials: int = option(100, least=1)
    scoring: Literal["supernet", "training"] = "supernet"
    calibration_images: int | None = option(None, least=2)
    sampling: Literal["uniform", "fair", "sandwich"] | None = None
    supernet_for: Literal["budget", "space"] | None = None
    ahead: int = option(1, least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in SUPERNET_ONLY:
            value = getattr(self, name)
            why = f"has no effect with scoring {self.scoring!r}"
            require(value is None or self.inherits_weights, f"strategy.options.{name}", value, why, "leave it out")

    @property
    def inherits_weights(self) -> bool:
        """Whether candidates are scored with weights inherited from a supernet that was trained before."""
        return self.scoring == "supernet"

    @property
    def images_to_calibrate(self) -> int:
        """``calibration_images`` or its default."""
        return 1024 if self.calibration_images is None else self.calibration_images

    def for_trials(self) -> Self:
        """These options as a search that ends after ``trials`` uses them."""
        return self

    @property
    def scores(self) -> tuple[Score, ...]:
        """What a candidate's score is at each rung; more is better.

        Of inherited weights the loss, which tells more than the accuracy, unless accuracy is an objective among others.
        """
        by_loss = self.inherits_weights and not self.objectives_beside_accuracy
        return ("negative_validation_loss" if by_loss else "validation_accuracy",)

    @property
    def rung_sizes(self) -> tuple[int, ...]:
        """How many architectures are scored at each rung: one number but for strategies that score some again."""
        return (self.trials,)

    def epochs_at_rungs(self, epochs: int) -> tuple[int, ...]:
        """For how many of the recipe's ``epochs`` in all a candidate is trained when it is scored at each rung."""
        return (epochs,)
