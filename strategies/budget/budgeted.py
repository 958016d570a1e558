"""What all strategies under a budget have in common."""

from __future__ import annotations

from typing import Any

from search_space.base.errors import InvalidRequest
from search_space.cost_table import CostTable
from strategies.budget.budget import Budget
from strategies.budget.costs import find_cost_table
from strategies.budget.feasible import FeasibleSet


class Budgeted:
    """Mix-in of a strategy: its budget, and the architectures inside once a space is known.

    Args:
        budget: what an architecture may cost.
        costs: the cost of every candidate, unless the space has a ``cost_table``.
        feasible: in place of both, the architectures inside a budget that was proven already.
        seed: of all draws.
        others: what NNI's base of the strategy takes.
    """

    #: names of what all strategies take beside their options
    COMMON = ("budget", "costs", "feasible", "seed", "mutation_hooks")

    budget: Budget
    costs: CostTable | None
    _feasible: FeasibleSet | None

    def __init__(
        self,
        *,
        budget: Budget | None = None,
        costs: CostTable | None = None,
        feasible: FeasibleSet | None = None,
        seed: int = 0,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        self.seed = seed
        if feasible is None:
            self.budget, self.costs = budget if budget is not None else Budget(), costs
        elif budget is None and costs is None:
            self.budget, self.costs = feasible.budget, feasible.table
        else:
            raise InvalidRequest("feasible: it brings a budget and costs of its own; leave budget and costs out")
        self._feasible = feasible

    def _meet_space(self, space: Any) -> None:
        """Find what is inside the budget; InvalidRequest, before anything is trained, if nothing is."""
        table = find_cost_table(space, self.costs)
        if self._feasible is None:
            self._feasible = FeasibleSet(table, self.budget)

    @property
    def feasible(self) -> FeasibleSet:
        """The architectures inside the budget; known once the strategy is initialised."""
        if self._feasible is None:
            raise RuntimeError("the strategy is not initialised yet")
        return self._feasible
