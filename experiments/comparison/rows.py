"""The rows of a comparison, and the table of their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from evaluators.measuring.statistics import Difference, paired_difference
from experiments.training.retrain import Result
from search_space.network_cost import cost
from strategies.budget.budget import EXACT_METRICS, Budget

#: the family of random networks
RANDOM = "random"
#: What a network is in a comparison: what a search found; of the Pareto set of a search; a fair opponent of the winner
#: by its cost; a network as it is; or one that was trained where there was no search.
Role = Literal["winner", "pareto", "control", "baseline", "trained"]


@dataclass(frozen=True)
class Row:
    """One network of a comparison.

    Attributes:
        result: its test accuracies.
        family: the strategy that found it, the hand-designed network that it is, or its folder's name.
        budget: what it is held against; None where there was no search.
        role: see `Role`.
        folder: by which networks of one name are told apart; None for controls.
    """

    result: Result
    family: str
    budget: Budget | None
    role: Role
    folder: Path | None = None

    @property
    def searched(self) -> bool:
        """Whether it is a search's winner."""
        return self.role == "winner"

    @property
    def in_budget(self) -> bool | None:
        """None without a budget, and for a hand-designed network inside all bounds on MACs and params if there are
        others: what it costs by those is known for candidates of the space only."""
        if self.budget is None:
            return None
        inside = self.budget.exact.admits(asdict(cost(self.result.architecture)))
        of_the_space = self.role in ("winner", "pareto") or self.family == RANDOM
        known = of_the_space or set(self.budget.bounds()) <= set(EXACT_METRICS)
        return inside if known or not inside else None


@dataclass(frozen=True)
class Latencies:
    """Times of a forward pass.

    Attributes:
        milliseconds: by the text of the network.
        note: how they were measured, as part of a sentence.
    """

    milliseconds: Mapping[str, float]
    note: str


def as_frame(rows: Sequence[Row], reference: str | None = None, latencies: Latencies | None = None) -> pd.DataFrame:
    """A row for each network, accuracies and differences in units of the accuracy.

    ``lead`` is that of the first winner over each network that is none; ``difference`` is that of each network to the
    one called ``reference``, paired over the seeds that both have. A figure that there is not is None.
    """
    values = []
    winner = next((row.result for row in rows if row.searched), None)
    against = next((row.result for row in rows if row.result.name == reference), None)
    for row in rows:
        result = row.result
        costs, accuracy = cost(result.architecture), result.summary
        low, high = accuracy.interval or (None, None)
        values.append(
            {
                "network": result.name,
                "macs": costs.macs,
                "flops_2x": 2 * costs.macs,
                "params": costs.params,
                "in_budget": row.in_budget,
                "n": len(result.seeds),
                "test_accuracy_mean": accuracy.mean,
                "test_accuracy_std": accuracy.std,
                "test_accuracy_low95": low,
                "test_accuracy_high95": high,
                "seconds_mean": sum(result.seconds) / len(result.seconds),
                **_columns("lead", None if row.searched else _difference(winner, result)),
                # what figures need: the colour, what kind of opponent it is, the network itself
                "family": row.family,
                "role": row.role,
                "architecture": str(result.architecture),
                "latency_ms": latencies and latencies.milliseconds[str(result.architecture)],
                "reference": reference,
                **_columns("difference", None if result is against else _difference(result, against)),
            }
        )
    return pd.DataFrame(values)


def _difference(first: Result | None, second: Result | None) -> Difference | None:
    """None if there is one network only, or if the two have no seed in common."""
    if first is None or second is None or not set(first.seeds) & set(second.seeds):
        return None
    return paired_difference(first.by_seed, second.by_seed)


def _columns(name: str, difference: Difference | None) -> dict[str, Any]:
    low, high = (difference and difference.summary.interval) or (None, None)
    return {
        f"{name}_mean": difference and difference.summary.mean,
        f"{name}_low95": low,
        f"{name}_high95": high,
        f"{name}_p": difference and difference.p,
    }
