"""An additive model of latency: a time for each candidate of each block, and how well sums of them predict networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

from evaluators.latency.timing import Part, input_shape
from evaluators.measuring.ranking import kendall
from search_space.architecture import SKIP, Block
from search_space.base.errors import InvalidRequest
from search_space.candidates import SearchSpace
from search_space.network import ClassifierHead, directed_layers, make_block, make_stem
from search_space.padding import direction_at

Correction = Literal["none", "fixed", "block", "scale"]
Sample = Mapping[str, str]

#: Keys of the parts that all networks of a space have in common.
EMPTY, STEM, HEAD = "empty", "stem", "head"
#: Networks below which a correction would be guessed rather than fitted.
_LEAST = 4
#: What a correction must take off the mean error to be worth it.
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
        kendall: Kendall's tau-b of the two orders; None for a single network or equal times.
        spearman: Spearman's rank correlation; likewise.
    """

    networks: int
    mape: float
    bias: float
    kendall: float | None
    spearman: float | None

    @classmethod
    def of(cls, predicted: NDArray[np.float64], measured: NDArray[np.float64]) -> Agreement:
        """InvalidRequest without networks."""
        if len(measured) == 0:
            raise InvalidRequest("networks: none; measure at least one")
        errors = predicted / measured - 1
        tau = kendall(predicted, measured)
        return cls(
            networks=len(measured),
            mape=float(np.abs(errors).mean()),
            bias=float(errors.mean()),
            kendall=tau,
            spearman=None if tau is None else float(spearmanr(predicted, measured).statistic),
        )


@dataclass(frozen=True)
class FittedTable:
    """A table, corrected by one number that was fitted to whole networks.

    Attributes:
        table: to be used.
        correction: "none"; "fixed": ``amount`` milliseconds more for every network; "block": for every block that is
            not skipped; "scale": all times multiplied by ``amount``.
        amount: of the correction.
        agreement: of the corrected table. Each network is predicted with the correction fitted to all the others.
        tried: the agreement of every correction, "none" included.
        predicted: the milliseconds that ``agreement`` compares, (networks,).
    """

    table: LatencyTable
    correction: Correction
    amount: float
    agreement: Agreement
    tried: Mapping[Correction, Agreement]
    predicted: NDArray[np.float64]


def candidate_parts(space: SearchSpace) -> dict[str, dict[str, Part | None]]:
    """``{label: {candidate: part}}``; None for skip, which takes no time."""
    return {
        space.labels[index]: {
            name: None if block.is_skip else _block_part(block, size)
            for name, block in zip(space.candidates[index], space.choices[index], strict=True)
        }
        for index, (_, size) in enumerate(space.skeleton.sized_blocks())
    }


def space_parts(space: SearchSpace) -> dict[str, Part]:
    """The parts that `latency_table` needs the times of, by key; equal blocks on maps of equal size are one part.

    Beside blocks, stem and head there is one part that computes next to nothing. Its time is that of a call, which all
    other parts contain too.
    """
    skeleton = space.skeleton
    final = (skeleton.blocks[-1].out_channels, skeleton.final_size, skeleton.final_size)
    parts = [
        Part(EMPTY, (1, 1, 1), nn.ReLU),
        Part(STEM, input_shape(skeleton), partial(make_stem, skeleton)),
        Part(HEAD, final, partial(ClassifierHead, skeleton)),
        *(part for candidates in candidate_parts(space).values() for part in candidates.values() if part is not None),
    ]
    return {part.key: part for part in parts}


def _block_part(block: Block, size: int) -> Part:
    # as in the middle of a network: padding by four groups, which takes longer, is for the last of the layers alone
    directions = tuple(direction_at(place + 1) for place in range(directed_layers(block)))
    layers = partial(make_block, block, size, directions, orthonormal=False)
    return Part(f"{size}x{size} {block!r}", (block.in_channels, size, size), layers)


def latency_table(space: SearchSpace, milliseconds: Mapping[str, float]) -> LatencyTable:
    """The table of a space from the times of its `space_parts` alone.

    The time of a call is part of each of them, but a network is called only once: it is subtracted from the blocks.
    """
    empty = milliseconds[EMPTY]
    costs = {
        label: {
            name: 0.0 if part is None else max(0.0, milliseconds[part.key] - empty) for name, part in candidates.items()
        }
        for label, candidates in candidate_parts(space).items()
    }
    return LatencyTable(max(0.0, milliseconds[STEM] + milliseconds[HEAD] - empty), costs)


def fit_table(table: LatencyTable, samples: Sequence[Sample], measured: NDArray[np.float64]) -> FittedTable:
    """Compare ``table`` with whole networks, and correct it if that predicts networks better that it was not fitted to.

    Parts alone miss what happens between them: caches that other parts have emptied, layouts that change, layers that
    are fused. Each correction is one number and keeps the table additive: the median of what the networks need, because
    a few timings are always disturbed. The correction with the smallest mean error of leave-one-out
    predictions is taken; none if it gains less than `_GAIN`, or if there are fewer than `_LEAST` networks.
    """
    plain = table.predict(samples)
    blocks = np.array([sum(name != SKIP for name in sample.values()) for sample in samples])
    # what each network's time grows by for each unit of a correction
    units: dict[Correction, NDArray[Any]] = {}
    if len(samples) >= _LEAST:
        units = {"fixed": np.ones(len(plain)), "block": np.maximum(blocks, 1), "scale": plain}
    amounts = {name: (measured - plain) / unit for name, unit in units.items()}
    predictions: dict[Correction, NDArray[np.float64]] = {"none": plain}
    for name, unit in units.items():
        from_others = [np.median(np.delete(amounts[name], index)) for index in range(len(samples))]
        predictions[name] = plain + unit * from_others
    tried = {name: Agreement.of(predicted, measured) for name, predicted in predictions.items()}
    best = min(tried, key=lambda name: tried[name].mape)
    if tried["none"].mape - tried[best].mape < _GAIN:
        best = "none"
    amount = 0.0 if best == "none" else float(np.median(amounts[best]))
    if best == "scale":  # stated as a factor, not as what it adds
        amount += 1
    return FittedTable(_corrected(table, best, amount), best, amount, tried[best], tried, predictions[best])


def _corrected(table: LatencyTable, correction: Correction, amount: float) -> LatencyTable:
    """``table`` with a correction; no time falls below 0."""
    scale = amount if correction == "scale" else 1.0
    per_network, per_block = (amount if correction == name else 0.0 for name in ("fixed", "block"))
    costs = {
        label: {name: 0.0 if name == SKIP else max(0.0, scale * ms + per_block) for name, ms in candidates.items()}
        for label, candidates in table.costs.items()
    }
    return LatencyTable(max(0.0, scale * table.fixed + per_network), costs)
