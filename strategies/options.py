"""Options of each strategy as values, checked before anything heavy is imported."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from search_space.base.errors import InvalidRequest


@dataclass(frozen=True)
class DifferentiableOptions:
    """Options of the differentiable strategies.

    NNI's ``gradient_clip_val`` is the recipe's ``search.gradient_clip`` here; its ``penalty`` is the budget.

    Attributes:
        arc_learning_rate: Adam's learning rate on the architecture parameters.
        arc_betas: Adam's decay rates of the gradient's mean and of its square.
        arc_weight_decay: Adam's weight decay on them.
        warmup_epochs: epochs in which only weights are trained.
        multiplier_rate: how fast the budget's multipliers follow a violation, per architecture step.
        log_prob_every_n_step: steps between two logs of entropy and expected cost.
    """

    arc_learning_rate: float = 0.05
    arc_betas: tuple[float, float] = (0.5, 0.999)
    arc_weight_decay: float = 1e-3
    warmup_epochs: int = 0
    multiplier_rate: float = 0.2
    log_prob_every_n_step: int = 10

    def __post_init__(self) -> None:
        _above(self, 0, "arc_learning_rate", "multiplier_rate")
        _at_least(self, 0, "arc_weight_decay", "warmup_epochs")
        _at_least(self, 1, "log_prob_every_n_step")
        _require(
            all(0 <= beta < 1 for beta in self.arc_betas), "arc_betas", self.arc_betas, "must be at least 0 and below 1"
        )

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the strategy's class."""
        return {**asdict(self), "arc_betas": self.arc_betas}


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

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the strategy's class."""
        arguments = super().arguments()
        arguments["temperature"] = arguments.pop("temperature_first"), arguments.pop("temperature_last")
        return arguments


@dataclass(frozen=True)
class GumbelOptions(SinglePathOptions):
    """Options of ``gumbel-darts``: as of ``gdas``, with the temperatures of NNI's GumbelDARTS.

    Attributes:
        temperature_first: temperature of the Gumbel-softmax in the first epoch.
        temperature_last: temperature after the last epoch; linear in between.
    """

    temperature_first: float = 1.0
    temperature_last: float = 0.33


@dataclass(frozen=True)
class EnasOptions:
    """Options of ``enas``.

    NNI's ``replay_buffer_size``, ``policy_fn`` and ``update_kwargs`` configure tianshou's PPO and have no meaning for
    REINFORCE, which learns from fresh samples only; its ``penalty`` is the budget.

    Attributes:
        policy_learning_rate: Adam's learning rate on the policy.
        batches_per_update: validation batches, each with an architecture of its own, before the policy moves.
        entropy_weight: weight of the policy's entropy beside the reward; keeps it from settling too early.
        reward_metric_name: validation metric that is the reward; null for the only one, or the accuracy.
        warmup_epochs: epochs in which only weights are trained, on paths uniform inside the budget.
        log_prob_every_n_step: steps between two logs of reward and entropy.
    """

    policy_learning_rate: float = 0.1
    batches_per_update: int = 10
    entropy_weight: float = 1e-4
    reward_metric_name: str | None = None
    warmup_epochs: int = 0
    log_prob_every_n_step: int = 10

    def __post_init__(self) -> None:
        _above(self, 0, "policy_learning_rate")
        _at_least(self, 0, "entropy_weight", "warmup_epochs")
        _at_least(self, 1, "log_prob_every_n_step")
        _at_least(self, 2, "batches_per_update")

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the strategy's class."""
        return asdict(self)


@dataclass(frozen=True)
class MultiTrialOptions:
    """Options of every strategy that scores one architecture after the other.

    Attributes:
        trials: architectures to score.
        scoring: "supernet" trains a supernet once and scores by inherited weights, "training" trains each candidate.
        calibration_images: training images on which batch-norm statistics are measured for each candidate; null for
            1024. Only with scoring "supernet".
        sampling: paths that the supernet is trained on, uniform (null's meaning), fair (each candidate equally often,
            whatever the budget) or sandwich (largest, smallest and two random ones a step, distilled in place). Only
            with scoring "supernet".
        supernet_for: "budget" (null's meaning) trains the supernet inside the budget only, "space" on everything, so
            that other budgets can be searched with it. Only with scoring "supernet".
    """

    trials: int = 100
    scoring: Literal["supernet", "training"] = "supernet"
    calibration_images: int | None = None
    sampling: Literal["uniform", "fair", "sandwich"] | None = None
    supernet_for: Literal["budget", "space"] | None = None

    #: Options that are no arguments of the strategy itself.
    _EXPERIMENT: ClassVar[frozenset[str]] = frozenset(
        {"trials", "scoring", "calibration_images", "sampling", "supernet_for"}
    )

    def __post_init__(self) -> None:
        _at_least(self, 1, "trials")
        if self.calibration_images is not None:
            _at_least(self, 2, "calibration_images")
        for name in ("calibration_images", "sampling", "supernet_for"):
            value = getattr(self, name)
            useful = value is None or self.scoring == "supernet"
            _require(useful, name, value, f"has no effect with scoring {self.scoring!r}; leave it out")

    @property
    def images_to_calibrate(self) -> int:
        """``calibration_images`` or its default."""
        return 1024 if self.calibration_images is None else self.calibration_images

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the strategy's class."""
        return {name: value for name, value in asdict(self).items() if name not in self._EXPERIMENT}


@dataclass(frozen=True)
class RandomOptions(MultiTrialOptions):
    """Options of ``random``.

    Attributes:
        dedup: never score an architecture twice.
    """

    dedup: bool = True


@dataclass(frozen=True)
class RandomOneShotOptions(RandomOptions):
    """Options of ``random-one-shot``: as of ``random``; it always scores by the supernet that it trains."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(
            self.scoring == "supernet", "scoring", self.scoring, "is what strategy random does; one-shot needs supernet"
        )


@dataclass(frozen=True)
class GridOptions(MultiTrialOptions):
    """Options of ``grid``.

    NNI's ``dedup`` is always on: a grid holds every architecture once.

    Attributes:
        shuffle: break ties at random; otherwise by the order of the candidates.
    """

    shuffle: bool = True


@dataclass(frozen=True)
class EvolutionOptions(MultiTrialOptions):
    """Options of ``evolution``.

    Attributes:
        population_size: individuals kept; the oldest goes when a new one comes.
        sample_size: individuals in a tournament; the best of them becomes a parent.
        mutation_prob: probability that a block's candidate is drawn anew.
        crossover: mix two parents before mutating.
        dedup: never score an architecture twice.
    """

    population_size: int = 20
    sample_size: int = 5
    mutation_prob: float = 0.1
    crossover: bool = False
    dedup: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(self, 1, "population_size")
        _require(
            1 <= self.sample_size <= self.population_size,
            "sample_size",
            self.sample_size,
            f"must be between 1 and population_size ({self.population_size})",
        )
        _require(0 < self.mutation_prob <= 1, "mutation_prob", self.mutation_prob, "must be above 0 and at most 1")

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the strategy's class; a population of more than all trials would never evolve."""
        arguments = super().arguments()
        arguments["population_size"] = min(self.population_size, self.trials)
        arguments["sample_size"] = min(self.sample_size, self.trials)
        return arguments


@dataclass(frozen=True)
class NSGA2Options(MultiTrialOptions):
    """Options of ``nsga2``.

    Attributes:
        population_size: individuals kept, and children in a generation.
        crossover_prob: probability that a child mixes two parents before its mutation.
        mutation_prob: probability that a block's candidate is drawn anew.
        objectives: costs to minimise beside maximising the accuracy.
    """

    population_size: int = 20
    crossover_prob: float = 0.9
    mutation_prob: float = 0.1
    objectives: tuple[str, ...] = ("macs", "params")

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(self, 1, "population_size")
        _require(0 <= self.crossover_prob <= 1, "crossover_prob", self.crossover_prob, "must be between 0 and 1")
        _require(0 < self.mutation_prob <= 1, "mutation_prob", self.mutation_prob, "must be above 0 and at most 1")
        distinct = len(set(self.objectives)) == len(self.objectives) > 0
        _require(distinct, "objectives", list(self.objectives), "must be one or more different costs, such as macs")

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the strategy's class; a population of more than all trials would never evolve."""
        arguments = super().arguments()
        arguments["population_size"] = min(self.population_size, self.trials)
        return arguments


@dataclass(frozen=True)
class TpeOptions(MultiTrialOptions):
    """Options of ``tpe``, those of NNI's tuner.

    NNI's ``constant_liar_type`` is for trials that run side by side, which sepnas has not; ``optimize_mode`` is always
    to maximise.

    Attributes:
        n_startup_jobs: architectures drawn uniformly inside the budget before the estimators are used.
        n_ei_candidates: proposals of which the one most likely good is scored.
        linear_forgetting: scores after which old ones begin to lose weight.
        prior_weight: weight of the uniform prior in each estimator, in trials.
        gamma: good are the best ceil(gamma * sqrt(number of scores)).
    """

    n_startup_jobs: int = 20
    n_ei_candidates: int = 24
    linear_forgetting: int = 25
    prior_weight: float = 1.0
    gamma: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(self, 1, "n_startup_jobs", "n_ei_candidates", "linear_forgetting")
        _above(self, 0, "prior_weight", "gamma")


@dataclass(frozen=True)
class PolicyRLOptions(MultiTrialOptions):
    """Options of ``policy-rl``, which needs the optional tianshou.

    NNI's ``policy_fn`` is code; give it to `strategies.PolicyBasedRL` in Python. ``reward_for_invalid`` has no use:
    no invalid architecture is ever asked for.

    Attributes:
        samples_per_update: scored architectures between two updates of the policy.
        replay_buffer_size: decisions kept for an update; null for those of ``samples_per_update`` architectures.
        batch_size: decisions in a minibatch of PPO.
        repeat: passes of PPO over the buffer in an update.
        update_times: updates in a row.
    """

    samples_per_update: int = 20
    replay_buffer_size: int | None = None
    batch_size: int = 32
    repeat: int = 5
    update_times: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(self, 1, "samples_per_update", "batch_size", "repeat", "update_times")
        if self.replay_buffer_size is not None:
            _at_least(self, 1, "replay_buffer_size")

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the strategy's class."""
        arguments = super().arguments()
        update = {name: arguments.pop(name) for name in ("batch_size", "repeat", "update_times")}
        return {**arguments, "update_kwargs": update}


def _above(options: object, bound: float, *names: str) -> None:
    for name in names:
        _require(getattr(options, name) > bound, name, getattr(options, name), f"must be above {bound}")


def _at_least(options: object, bound: float, *names: str) -> None:
    reason = "must not be negative" if bound == 0 else f"must be at least {bound}"
    for name in names:
        _require(getattr(options, name) >= bound, name, getattr(options, name), reason)


def _require(condition: bool, name: str, value: object, reason: str) -> None:
    if not condition:
        raise InvalidRequest(f"strategy.options.{name}: {value!r} {reason}")
