"""Random search under a budget."""

from __future__ import annotations

from typing import Any

from nni.nas.strategy import Random as NniRandom

from search_space.cost_table import CostTable
from strategies.budget.budget import Budget
from strategies.multi_trial.base import MultiTrial


class Random(MultiTrial, NniRandom):
    """Asks for architectures drawn uniformly inside a `Budget`, until none is left.

    A subclass of ``nni.nas.strategy.Random``, which knows no budget and ends silently after 500 duplicates in a row,
    with part of a small space never seen; this one misses none (with ``dedup``).
    """

    def __init__(
        self, *, budget: Budget | None = None, costs: CostTable | None = None, dedup: bool = True, seed: int = 0
    ) -> None:
        super().__init__(dedup=dedup, seed=seed)
        self._set_up(budget, costs, seed)
        self.dedup = dedup

    def _propose(self) -> dict[str, Any] | None:
        return self.unasked.random(self.rng) if self.dedup else self.feasible.random(self.rng)
