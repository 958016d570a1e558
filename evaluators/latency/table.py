"""An additive model of latency: a time for each candidate of each block, and what sums of them say of networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from evaluators.latency.parts import EMPTY, HEAD, STEM, SpaceParts
from search_space.architecture import SKIP
from search_space.base.errors import InvalidRequest

Correction = Literal["none", "fixed", "block", "scale"]
Sample = Mapping[str, str]

_CORRECTIONS: tuple[Correction, ...] = ("fixed", "block", "scale")
#: Networks below which a correction would be guessed rather than fitted.
_LEAST = 4
#: What a correction must take off the mean error to be worth having.
_GAIN = 1e-3


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds that add up: ``fixed`` and, for each label, ``costs[label][candidate]``."""

    fixed: float
    costs: Mapping[str, Mapping[str, float]]

    def predict(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Milliseconds of networks ``{label: candidate}``: (networks,)."""
        return np.array([self.fixed + sum(self.costs[label][name] for label, name in s.items()) for s in samples])


@dataclass(frozen=True)
class Agreement:
    """Predicted against measured times of networks.

    Attributes:
        networks: how many.
        mape: mean of |predicted - measured| / measured.
        bias: mean of (predicted - measured) / measured.
        kendall: Kendall's tau-b of the two orders; NaN for a single network or equal times.
        spearman: Spearman's rank correlation; likewise.
    """

    networks: int
    mape: float
    bias: float
    kendall: float
    spearman: float

    @classmethod
    def of(cls, predicted: NDArray[np.float64], measured: NDArray[np.float64]) -> Agreement:
        """InvalidRequest without networks."""
        if len(measured) == 0:
            raise InvalidRequest("networks: none; measure at least one")
        errors = predicted / measured - 1
        ranked = len(measured) > 1 and np.ptp(predicted) > 0 and np.ptp(measured) > 0
        return cls(
            networks=len(measured),
            mape=float(np.abs(errors).mean()),
            bias=float(errors.mean()),
            kendall=float(kendalltau(predicted, measured).statistic) if ranked else float("nan"),
            spearman=float(spearmanr(predicted, measured).statistic) if ranked else float("nan"),
        )


@dataclass(frozen=True)
class FittedTable:
    """A table, corrected by one number that whole networks have shown.

    Attributes:
        table: to be used.
        correction: "none"; "fixed": ``amount`` milliseconds for every network; "block": for every block that is there;
            "scale": all times multiplied by it.
        amount: of the correction.
        agreement: of the corrected table. Each network is predicted by a correction that the others alone have shown.
        tried: the same of every correction, "none" included.
        predicted: the milliseconds that ``agreement`` is about, (networks,).
    """

    table: LatencyTable
    correction: Correction
    amount: float
    agreement: Agreement
    tried: Mapping[Correction, Agreement]
    predicted: NDArray[np.float64]


def latency_table(parts: SpaceParts, milliseconds: Mapping[str, float]) -> LatencyTable:
    """The table of a space from the times of its parts alone.

    What it takes to call anything is in each of them, but in a network only once: it is taken off the blocks.
    """
    empty = milliseconds[EMPTY]
    costs = {
        label: {name: 0.0 if key is None else max(0.0, milliseconds[key] - empty) for name, key in candidates.items()}
        for label, candidates in parts.keys.items()
    }
    return LatencyTable(max(0.0, milliseconds[STEM] + milliseconds[HEAD] - empty), costs)


def fit_table(table: LatencyTable, samples: Sequence[Sample], measured: NDArray[np.float64]) -> FittedTable:
    """Compare ``table`` with whole networks, and correct it if that brings it nearer to networks it was not fitted to.

    Parts alone miss what lies between them: caches that other parts have emptied, layouts that are changed, layers that
    are fused. Of the corrections, each of one number and all additive, the one with the smallest mean error of
    leave-one-out predictions is taken; none if it gains less than `_GAIN`, or of fewer than `_LEAST` networks.
    """
    plain = table.predict(samples)
    tried: dict[Correction, Agreement] = {"none": Agreement.of(plain, measured)}
    predictions: dict[Correction, NDArray[np.float64]] = {"none": plain}
    if len(samples) >= _LEAST:
        for name in _CORRECTIONS:
            predictions[name] = np.array(
                [
                    _corrected(table, name, _amount(table, name, _without(samples, i), np.delete(measured, i))).predict(
                        [samples[i]]
                    )[0]
                    for i in range(len(samples))
                ]
            )
            tried[name] = Agreement.of(predictions[name], measured)
    best = min(tried, key=lambda name: tried[name].mape)
    if tried["none"].mape - tried[best].mape < _GAIN:
        best = "none"
    amount = 0.0 if best == "none" else _amount(table, best, samples, measured)
    corrected = table if best == "none" else _corrected(table, best, amount)
    return FittedTable(corrected, best, amount, tried[best], tried, predictions[best])


def _without(samples: Sequence[Sample], index: int) -> list[Sample]:
    return [sample for place, sample in enumerate(samples) if place != index]


def _amount(
    table: LatencyTable, correction: Correction, samples: Sequence[Sample], measured: NDArray[np.float64]
) -> float:
    """What the correction must be for most of the networks: the median, as a few timings are always disturbed."""
    predicted = table.predict(samples)
    if correction == "scale":
        return float(np.median(measured / predicted))
    if correction == "fixed":
        return float(np.median(measured - predicted))
    blocks = np.array([sum(name != SKIP for name in sample.values()) for sample in samples])
    return float(np.median((measured - predicted) / np.maximum(blocks, 1)))


def _corrected(table: LatencyTable, correction: Correction, amount: float) -> LatencyTable:
    """``table`` with a correction; no time falls below 0."""
    if correction == "fixed":
        return LatencyTable(max(0.0, table.fixed + amount), table.costs)
    scale, more = (amount, 0.0) if correction == "scale" else (1.0, amount)
    costs = {
        label: {name: 0.0 if name == SKIP else max(0.0, scale * value + more) for name, value in candidates.items()}
        for label, candidates in table.costs.items()
    }
    return LatencyTable(scale * table.fixed, costs)
