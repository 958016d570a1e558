"""The one-shot strategies by name, with their options. Apart from the strategies themselves, which need torch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from search_space.base.checks import check_choice, option, require
from strategies.options import OneShotOptions
from strategies.registry import register


@dataclass(frozen=True)
class DifferentiableOptions(OneShotOptions):
    """Options of the differentiable strategies.

    NNI's ``gradient_clip_val`` is the recipe's ``search.gradient_clip`` here; its ``penalty`` is the budget.

    Attributes:
        arc_learning_rate: Adam's learning rate on the architecture parameters.
        arc_betas: Adam's decay rates of the gradient's mean and of its square.
        arc_weight_decay: Adam's weight decay on the architecture parameters.
        multiplier_rate: how fast the budget's multipliers follow a violation, per architecture step.
    """

    arc_learning_rate: float = option(0.05, above=0)
    arc_betas: tuple[float, float] = option((0.5, 0.999), least=0, below=1)
    arc_weight_decay: float = option(1e-3, least=0)
    multiplier_rate: float = option(0.2, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.arc_betas) == 2, "strategy.options.arc_betas", list(self.arc_betas), "must be two numbers")
        object.__setattr__(self, "arc_betas", tuple(self.arc_betas))

    def temperature(self, epoch: int, epochs: int) -> float:
        """Temperature of what is sampled in ``epoch`` (from 0) of ``epochs``; 1 where nothing is annealed."""
        return 1.0


@dataclass(frozen=True)
class SinglePathOptions(DifferentiableOptions):
    """Options of ``gdas``: those of the differentiable strategies and how many candidates are compared.

    Attributes:
        candidates_per_step: candidates of one block whose losses an architecture step compares, one forward pass each.
    """

    candidates_per_step: int = option(4, least=2)


@dataclass(frozen=True)
class GumbelOptions(DifferentiableOptions):
    """Options of ``gumbel-darts``: those of the differentiable strategies and the temperatures, NNI's by default.

    Attributes:
        temperature_first: temperature of the Gumbel-softmax in the first epoch.
        temperature_last: temperature after the last epoch; linear in between.
    """

    temperature_first: float = option(1.0, above=0)
    temperature_last: float = option(0.33, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        falls = self.temperature_last <= self.temperature_first
        why = f"must be at most temperature_first ({self.temperature_first})"
        require(falls, "strategy.options.temperature_last", self.temperature_last, why)

    def temperature(self, epoch: int, epochs: int) -> float:
        """Linear from the first temperature to the last, which is reached when all epochs are over."""
        return (1 - epoch / epochs) * (self.temperature_first - self.temperature_last) + self.temperature_last


@dataclass(frozen=True)
class EnasOptions(OneShotOptions):
    """Options of ``enas``.

    NNI's ``replay_buffer_size``, ``policy_fn`` and ``update_kwargs`` configure tianshou's PPO and have no meaning here,
    where the policy learns from fresh samples only; its ``penalty`` is the budget.

    Attributes:
        policy_learning_rate: Adam's learning rate on the policy.
        paths_per_step: paths that a step of the policy compares on one validation batch.
        entropy_weight: weight of the policy's entropy (in nats) beside the reward; keeps the policy from settling too
            early.
        reward_metric_name: validation metric to maximise; null for the one called default, else minus the only one
            whose name ends in loss, else the only one whose name ends in accuracy or acc, else the only one.
    """

    policy_learning_rate: float = option(0.05, above=0)
    paths_per_step: int = option(4, least=2)
    entropy_weight: float = option(1e-4, least=0)
    reward_metric_name: str | None = None

    def check_names(self, costs: Collection[str], metrics: Collection[str]) -> None:
        """InvalidRequest for a reward that is not measured."""
        if self.reward_metric_name is not None:
            check_choice("strategy.options.reward_metric_name", self.reward_metric_name, metrics)


register(
    "gdas",
    "single paths of a supernet (after GDAS), candidates compared by their losses",
    SinglePathOptions,
    "strategies.one_shot.single_path.GDAS",
)
register(
    "darts",
    "first-order DARTS over the full mixture: every candidate in every step, so slower and larger",
    DifferentiableOptions,
    "strategies.one_shot.darts.DARTS",
)
register(
    "gumbel-darts",
    "DARTS whose mixture is weighted by a Gumbel-softmax sample that cools down",
    GumbelOptions,
    "strategies.one_shot.gumbel.GumbelDARTS",
)
register(
    "proxyless",
    "binary gates (ProxylessNAS): one candidate runs in a weight step, two in an architecture step",
    DifferentiableOptions,
    "strategies.one_shot.proxyless.Proxyless",
)
register(
    "enas",
    "a policy learns which paths of the supernet that it trains score better than similar ones on a validation batch",
    EnasOptions,
    "strategies.one_shot.enas.ENAS",
)
