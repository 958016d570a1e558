"""Additive costs of a space as tables: for each label the cost of every candidate, and what is common to all."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_space.base.checks import check_number, known_names, shown, unknown
from search_space.base.errors import InvalidRequest

Costs = NDArray[Any]


@dataclass(frozen=True)
class CostTable:
    """Costs that add up over the labels of a space.

    ``candidates[label]`` names the values of a label; ``costs[metric][label]`` has one number for each, in the same
    order; ``fixed[metric]`` is common to all. "macs" and "params" are whole numbers, added exactly; others
    (`with_cost`) floats. ``kinds[label]`` says of each value what it has in common with others that may score alike, as
    operators of one family do; None if nothing is known. ``experience[label]`` says how much better or worse each value
    made the networks of earlier trainings, in any unit; None if there were none.
    """

    candidates: Mapping[str, tuple[Any, ...]]
    costs: Mapping[str, Mapping[str, Costs]]
    fixed: Mapping[str, float]
    kinds: Mapping[str, tuple[str, ...]] | None = None
    experience: Mapping[str, Costs] | None = None

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
        return math.prod(map(len, self.candidates.values()))

    def with_cost(self, name: str, costs: Mapping[str, Mapping[str, float]], fixed: float = 0.0) -> CostTable:
        """This table and one metric more: ``costs[label][candidate]``, and what all architectures have in common.

        InvalidRequest names what is missing, unknown or not a finite number of 0 or more.
        """
        where = f"costs {shown(name)}"
        if name in self.costs:
            raise InvalidRequest(f"{where}: the table has it already; use another name")
        _check_names(f"{where}: label", self.candidates, costs)
        arrays = {}
        for label, values in self.candidates.items():
            own = costs[label]
            _check_names(f"{where}: label {shown(label)}: candidate", values, own)
            for value in values:
                check_number(f"{where}: {label}.{value}", own[value], least=0)
            arrays[label] = np.array([own[value] for value in values], dtype=np.float64)
        check_number(f"{where}: fixed", fixed, least=0)
        return replace(self, costs={**self.costs, name: arrays}, fixed={**self.fixed, name: float(fixed)})

    def evaluate(self, indices: NDArray[np.integer], metrics: Collection[str] | None = None) -> dict[str, Costs]:
        """Costs of many architectures: ``indices`` of shape (n, labels) -> {metric: (n,)}, int64 or float64; of all
        metrics, or of ``metrics`` alone."""
        totals = {}
        for metric in self.metrics if metrics is None else metrics:
            by_label = self.costs[metric]
            whole = all(np.issubdtype(values.dtype, np.integer) for values in by_label.values())
            total = np.full(len(indices), self.fixed[metric], dtype=np.int64 if whole else np.float64)
            for column, label in enumerate(self.labels):
                total += by_label[label][indices[:, column]]
            totals[metric] = total
        return totals

    def indices(self, sample: Mapping[str, Any]) -> NDArray[np.int64]:
        """Shape (labels,): which candidate of each label ``sample`` takes; InvalidRequest for an unknown one."""
        result = np.empty(len(self.labels), dtype=np.int64)
        for column, (label, values) in enumerate(self.candidates.items()):
            if label not in sample:
                raise InvalidRequest(f"sample: label {label!r} is missing")
            if sample[label] not in values:
                raise InvalidRequest(f"sample[{label!r}]: {shown(sample[label])} is not one of {known_names(values)}")
            result[column] = values.index(sample[label])
        return result

    def sample(self, indices: NDArray[np.integer]) -> dict[str, Any]:
        """The inverse of `indices`, as NNI's samples are: {label: candidate}."""
        return {label: self.candidates[label][i] for label, i in zip(self.labels, indices, strict=True)}

    def cost(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """{metric: cost} of one sample, int or float."""
        return {metric: total[0].item() for metric, total in self.evaluate(self.indices(sample)[None]).items()}

    def reachable(self) -> dict[str, tuple[Any, Any]]:
        """{metric: (smallest, largest)} over all architectures, each metric on its own; int or float."""
        ends = {}
        for metric, own in self.costs.items():
            extremes = [[pick(own[label]) for label in self.labels] for pick in (np.argmin, np.argmax)]
            ends[metric] = tuple(self.evaluate(np.array(extremes), (metric,))[metric].tolist())
        return ends


def _check_names(where: str, known: Collection[str], given: Collection[str]) -> None:
    for name in known:
        if name not in given:
            raise InvalidRequest(f"{where} {shown(name)} is missing")
    for name in given:
        if name not in known:
            raise unknown(where, name, known)
