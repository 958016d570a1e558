"""What has not been proposed yet: so that no architecture is scored twice and small spaces are searched to the end."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.budget.feasible import FeasibleSet, Scores
from strategies.budget.used_labels import Key

#: Spaces of at most so many architectures are written out,
_WRITTEN_OUT = 20_000
#: and so are at most so many inside the budget of a larger space, in so many rounds of draws.
_COLLECTED = 1000
_ROUNDS = 20
#: Draws before it is taken that few are left.
_DRAWS = 100
#: If so many best architectures have all been removed, nothing is expected to remain.
_MOST_RANKED = 4096


class Remaining:
    """The architectures of ``feasible`` whose key has not been removed yet.

    Spaces of at most 20,000 architectures, or 1000 inside the budget, are written out. In larger ones `best` and
    `nearest` go down the ranking until something remains, which is exact too unless choices are nested: then over 4096
    samples that differ only in unused labels can hide the rest. Each method returns None if nothing is left.

    Args:
        feasible: the architectures inside the budget.
        key: gives equal keys to samples that are one architecture.
    """

    def __init__(self, feasible: FeasibleSet, key: Key) -> None:
        self.feasible = feasible
        self.key = key
        self._removed: set[Hashable] = set()
        self._written = self._write_out()

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
        if self._written is None:
            return self.best(scores)
        self._written = self._written[rng.permutation(len(self._written))]
        return self.best({label: np.zeros_like(score) for label, score in scores.items()})

    def nearest(self, sample: Mapping[str, Any], rng: np.random.RandomState) -> dict[str, Any] | None:
        """The one that differs from ``sample`` in the fewest labels, ties broken at random."""
        return self.best(self.feasible.closeness(sample, rng))

    def best(self, scores: Scores) -> dict[str, Any] | None:
        """The one with the largest sum of ``scores[label][candidate]``."""
        if self._written is not None:
            return self._best_written(self._written, scores)
        ranked = islice(self.feasible.ranked(scores), max(_MOST_RANKED, len(self._removed) + 1))
        return next((sample for sample in ranked if sample in self), None)

    def _best_written(self, written: NDArray[np.int64], scores: Scores) -> dict[str, Any] | None:
        table = self.feasible.table
        totals = sum(np.asarray(scores[label])[written[:, column]] for column, label in enumerate(table.labels))
        removed = []
        best = None
        for row in np.argsort(-np.asarray(totals), kind="stable"):
            sample = table.sample(written[row])
            if sample in self:
                best = sample
                break
            removed.append(row)
        self._written = np.delete(written, removed, axis=0)
        return best

    def _write_out(self) -> NDArray[np.int64] | None:
        """All architectures inside, (n, labels), if they are few."""
        table = self.feasible.table
        if table.size <= _WRITTEN_OUT:
            sizes = [len(values) for values in table.candidates.values()]
            everything = np.stack(np.unravel_index(np.arange(table.size), sizes), axis=1).astype(np.int64)
            return everything[self.feasible.budget.inside(table.evaluate(everything))]
        count = self.feasible.count
        if count > _COLLECTED or self.feasible.count_error > 0:
            return None
        # few in a large space: uniform draws find them all, as many a round as the last of them needs on average
        rng = np.random.RandomState(0)
        inside = np.empty((0, len(table.labels)), dtype=np.int64)
        for _ in range(_ROUNDS):
            drawn = self.feasible.sample_many(rng, math.ceil(count * (math.log(count) + 1)))
            inside = np.unique(np.concatenate([inside, drawn]), axis=0)
            if len(inside) == count:
                return inside
        return None
