"""A multi-trial search as a plain object, with no NNI in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from strategies.options import MultiTrialOptions

if TYPE_CHECKING:
    from strategies.budget.feasible import FeasibleSet
    from strategies.budget.remaining import Remaining

_TRIES = 20
#: {label: value}, as NNI calls an architecture.
Sample = dict[str, Any]
Options = TypeVar("Options", bound=MultiTrialOptions)


class Proposer(ABC, Generic[Options]):
    """Proposes architectures inside a budget, one at a time, and observes what they score.

    What it proposes depends on ``seed`` and on the observations so far, in their order: `strategies.adapter` resumes a
    search by repeating both. ``remaining`` are the architectures of ``feasible`` that have not been proposed yet.
    """

    def __init__(self, options: Options, feasible: FeasibleSet, remaining: Remaining, seed: int) -> None:
        self.options = options
        self.feasible = feasible
        self.remaining = remaining
        self.seed = seed
        self.rng = np.random.RandomState(seed)

    @abstractmethod
    def propose(self) -> Sample | None:
        """The next architecture to score; None if there is none left, or none before all scores are observed."""

    def first_new(self, make: Callable[[], Sample]) -> Sample | None:
        """The first of 20 samples that ``make`` gives which has not been proposed yet; else the one that is left and
        nearest to the last of them, None if none is left."""
        for _ in range(_TRIES):
            sample = make()
            if sample in self.remaining:
                return sample
        return self.remaining.nearest(sample, self.rng)

    def observe(self, trial: int, sample: Sample, metric: float) -> None:
        """Learn that ``sample``, proposal number ``trial`` (from 0), scores ``metric``: more is better, nan failed."""

    def believed(self, samples: Sequence[Sample], metrics: Sequence[float]) -> list[float]:
        """How good the scored ``samples`` are taken to be: as their ``metrics`` say, unless a model knows better."""
        return list(metrics)
