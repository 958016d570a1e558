"""Additive costs of a space as tables: for each label the cost of every candidate, and what is common to all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_space.errors import InvalidRequest

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class CostTable:
    """Costs that add up over the labels of a space.

    ``candidates[label]`` names the values of a label; ``costs[metric][label]`` has one number for each of them, in the
    same order; ``fixed[metric]`` is common to all architectures. Metrics of `search_space` are "macs" and "params".
    """

    candidates: Mapping[str, tuple[str, ...]]
    costs: Mapping[str, Mapping[str, IntArray]]
    fixed: Mapping[str, int]

    def __post_init__(self) -> None:
        for metric, by_label in self.costs.items():
            for label, values in self.candidates.items():
                if label not in by_label or len(by_label[label]) != len(values):
                    raise InvalidRequest(
                        f"costs[{metric!r}][{label!r}]: needs one number for each of the {len(values)} candidates"
                    )

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order in which index arrays hold them."""
        return tuple(self.candidates)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the costs."""
        return tuple(self.costs)

    @property
    def size(self) -> int:
        """Number of architectures."""
        total = 1
        for values in self.candidates.values():
            total *= len(values)
        return total

    def evaluate(self, indices: NDArray[np.integer]) -> dict[str, IntArray]:
        """Costs of many architectures: ``indices`` of shape (n, labels) -> {metric: (n,)}."""
        totals = {}
        for metric, by_label in self.costs.items():
            total = np.full(len(indices), self.fixed[metric], dtype=np.int64)
            for column, label in enumerate(self.labels):
                total += by_label[label][indices[:, column]]
            totals[metric] = total
        return totals

    def indices(self, sample: Mapping[str, str]) -> NDArray[np.int64]:
        """Shape (labels,): which candidate of each label ``sample`` takes; InvalidRequest for an unknown one."""
        result = np.empty(len(self.labels), dtype=np.int64)
        for column, (label, values) in enumerate(self.candidates.items()):
            if label not in sample:
                raise InvalidRequest(f"sample: label {label!r} is missing")
            if sample[label] not in values:
                raise InvalidRequest(f"sample[{label!r}]: {sample[label]!r} is none of {', '.join(values)}")
            result[column] = values.index(sample[label])
        return result

    def sample(self, indices: NDArray[np.integer]) -> dict[str, str]:
        """The inverse of `indices`, as NNI's samples are: {label: candidate}."""
        return {label: self.candidates[label][i] for label, i in zip(self.labels, indices, strict=True)}

    def cost(self, sample: Mapping[str, str]) -> dict[str, int]:
        """{metric: cost} of one sample."""
        return {metric: int(total[0]) for metric, total in self.evaluate(self.indices(sample)[None]).items()}

    def reachable(self) -> dict[str, tuple[int, int]]:
        """{metric: (smallest, largest)} over all architectures, each metric on its own."""
        return {
            metric: (
                self.fixed[metric] + int(sum(values.min() for values in by_label.values())),
                self.fixed[metric] + int(sum(values.max() for values in by_label.values())),
            )
            for metric, by_label in self.costs.items()
        }
