"""Random search under a budget."""

from __future__ import annotations

from dataclasses import dataclass

from search_space.base.checks import require
from strategies.multi_trial._proposer import Proposer, Sample
from strategies.options import MultiTrialOptions
from strategies.registry import register


@dataclass(frozen=True)
class RandomOptions(MultiTrialOptions):
    """Options of ``random``.

    Attributes:
        dedup: never score an architecture twice.
    """

    dedup: bool = True


@dataclass(frozen=True)
class RandomOneShotOptions(RandomOptions):
    """Options of ``random-one-shot``: as of ``random``, but it always scores by the supernet that it trains."""

    def __post_init__(self) -> None:
        super().__post_init__()
        why = "is what strategy random does; one-shot needs supernet"
        require(self.inherits_weights, "strategy.options.scoring", self.scoring, why)


class RandomProposer(Proposer[RandomOptions]):
    """Draws architectures uniformly inside the budget; with ``dedup`` until none is left (NNI's ``Random`` ends after
    500 duplicates in a row)."""

    def propose(self) -> Sample | None:
        return self.remaining.random(self.rng) if self.options.dedup else self.feasible.random(self.rng)


register(
    "random",
    "architectures drawn uniformly inside the budget, scored by inherited weights or by a short training",
    RandomOptions,
    RandomProposer,
)
register(
    "random-one-shot",
    "NNI's RandomOneShot as a search: it exports the best of random architectures by inherited weights",
    RandomOneShotOptions,
    RandomProposer,
)
