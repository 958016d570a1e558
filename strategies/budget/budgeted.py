"""What all strategies under a budget have in common."""

from __future__ import annotations

from typing import Any

from search_space.cost_table import CostTable
from strategies.budget.budget import Budget
from strategies.budget.costs import find_cost_table
from strategies.budget.feasible import FeasibleSet


class Budgeted:
    """Mix-in of a strategy: its budget, where costs come from, and the architectures inside once a space is known."""

    budget: Budget
    costs: CostTable | None
    _feasible: FeasibleSet | None = None

    def _set_budget(self, budget: Budget | None, costs: CostTable | None) -> None:
        self.budget = budget if budget is not None else Budget()
        self.costs = costs

    def _meet_space(self, space: Any) -> None:
        """Find what is inside the budget; InvalidRequest, before anything is trained, if nothing is."""
        self._feasible = FeasibleSet(find_cost_table(space, self.costs), self.budget)

    @property
    def feasible(self) -> FeasibleSet:
        """The architectures inside the budget; known once the strategy is initialised."""
        if self._feasible is None:
            raise RuntimeError("the strategy is not initialised yet")
        return self._feasible
