"""What has not been proposed yet: so that no architecture is scored twice and small spaces are searched to the end."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from itertools import islice
from typing import Any

import numpy as np

from strategies.budget.feasible import FeasibleSet, Scores
from strategies.budget.used_labels import Key

#: Draws before it is taken that few are left.
_DRAWS = 100
#: If so many best architectures have all been removed, nothing is expected to remain.
_MOST_RANKED = 4096


class Remaining:
    """The architectures of ``feasible`` whose ``key`` has not been removed yet; each method gives None if none is left.

    ``key`` gives equal values for samples that are one architecture. Few are listed (`FeasibleSet.listed`). Among many,
    `best` and `nearest` go down the ranking until something remains, which is exact too unless choices are nested: then
    over 4096 samples that differ only in unused labels can hide the rest.
    """

    def __init__(self, feasible: FeasibleSet, key: Key) -> None:
        self.feasible = feasible
        self.key = key
        self._removed: set[Hashable] = set()
        self._listed = feasible.listed

    def remove(self, sample: Mapping[str, Any]) -> None:
        """Count ``sample`` as proposed."""
        self._removed.add(self.key(sample))

    def __contains__(self, sample: Mapping[str, Any]) -> bool:
        return self.key(sample) not in self._removed

    def random(self, rng: np.random.RandomState) -> dict[str, Any] | None:
        """One of them, uniformly."""
        for _ in range(_DRAWS):
            sample = self.feasible.random(rng)
            if sample in self:
                return sample
        scores = {label: rng.uniform(size=len(values)) for label, values in self.feasible.table.candidates.items()}
        if self._listed is None:
            return self.best(scores)
        self._listed = self._listed[rng.permutation(len(self._listed))]
        return self.best({label: np.zeros_like(score) for label, score in scores.items()})

    def nearest(self, sample: Mapping[str, Any], rng: np.random.RandomState) -> dict[str, Any] | None:
        """The one that differs from ``sample`` in the fewest labels, ties broken at random."""
        return self.best(self.feasible.closeness(sample, rng))

    def best(self, scores: Scores) -> dict[str, Any] | None:
        """The one with the largest sum of ``scores[label][candidate]``."""
        if self._listed is None:
            ranked = islice(self.feasible.ranked(scores), max(_MOST_RANKED, len(self._removed) + 1))
            return next((sample for sample in ranked if sample in self), None)
        table, listed = self.feasible.table, self._listed
        totals = sum(np.asarray(scores[label])[listed[:, column]] for column, label in enumerate(table.labels))
        order = np.argsort(-np.asarray(totals), kind="stable")
        for place, row in enumerate(order):
            sample = table.sample(listed[row])
            if sample in self:
                self._listed = np.delete(listed, order[:place], axis=0)
                return sample
        self._listed = listed[:0]
        return None
