"""Grid search under a budget, in an order that is of use before it is finished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from strategies.multi_trial._proposer import Proposer, Sample
from strategies.options import MultiTrialOptions
from strategies.registry import register


@dataclass(frozen=True)
class GridOptions(MultiTrialOptions):
    """Options of ``grid``.

    NNI's ``dedup`` is always on: a grid holds every architecture once.

    Attributes:
        shuffle: break ties at random; otherwise by the order of the candidates, and the seed has no effect.
    """

    shuffle: bool = True


class GridProposer(Proposer[GridOptions]):
    """Proposes every architecture inside the budget exactly once, and varies all labels evenly from the start.

    Each is the one whose values were used least so far, found exactly; NNI's ``GridSearch`` counts like an odometer, so
    that a search that ends early has varied nothing but the last labels.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._uses = {label: np.zeros(len(values)) for label, values in self.feasible.table.candidates.items()}

    def propose(self) -> Sample | None:
        table = self.feasible.table
        scores = {}
        for label, uses in self._uses.items():
            # together the tie-breaks of all labels stay below 1, a single use
            ties = self.rng.uniform(size=len(uses)) if self.options.shuffle else np.linspace(1, 0, len(uses))
            scores[label] = -uses + 0.9 * ties / len(table.labels)
        sample = self.remaining.best(scores)
        if sample is not None:
            for label, value in sample.items():
                self._uses[label][table.candidates[label].index(value)] += 1
        return sample


register(
    "grid",
    "every architecture inside the budget once, in an order that varies all blocks evenly from the start",
    GridOptions,
    GridProposer,
)
