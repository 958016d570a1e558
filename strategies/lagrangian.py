"""Budget penalty of differentiable search: an augmented Lagrangian whose multipliers adapt by themselves."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from search_space.cost_table import CostTable
from strategies.budget import Budget


class BudgetPenalty(nn.Module):
    """Penalty on the *expected* cost of the architecture distribution, with a gradient to its probabilities.

    For each bound, ``g`` is the relative excess of the expected cost (negative inside). The penalty is the augmented
    Lagrangian for inequalities, ``(max(0, m + r g)^2 - m^2) / 2r``; after each step the multiplier ``m`` moves by
    ``rate * g`` and never below 0. So the pressure grows exactly as long as a bound is violated, whatever the scale
    of the task's loss. The multipliers are a buffer: they travel with a checkpoint.
    """

    multipliers: Tensor

    def __init__(self, table: CostTable, budget: Budget, *, rate: float = 0.1, stiffness: float = 1.0) -> None:
        super().__init__()
        self.labels = table.labels
        self.bounds: list[tuple[str, float, int]] = []  # (metric, bound, +1 upper / -1 lower)
        for metric, (low, high) in budget.bounds().items():
            if high is not None:
                self.bounds.append((metric, float(high), 1))
            if low is not None:
                self.bounds.append((metric, float(low), -1))
        self.fixed = {metric: float(table.fixed[metric]) for metric, _, _ in self.bounds}
        self.rate = rate
        self.stiffness = stiffness
        for metric in self.fixed:
            for index, label in enumerate(self.labels):
                values = torch.tensor(table.costs[metric][label], dtype=torch.float32)
                self.register_buffer(f"_{metric}_{index}", values, persistent=False)
        self.register_buffer("multipliers", torch.zeros(len(self.bounds)))

    def expected(self, probabilities: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{metric: expected cost, a scalar} of the bounded metrics under ``{label: (candidates,)}``."""
        return {
            metric: fixed
            + torch.stack(
                [
                    (probabilities[label] * self.get_buffer(f"_{metric}_{index}")).sum()
                    for index, label in enumerate(self.labels)
                ]
            ).sum()
            for metric, fixed in self.fixed.items()
        }

    def excess(self, probabilities: Mapping[str, Tensor]) -> Tensor:
        """Relative violation of each bound, shape (bounds,); negative inside."""
        expected = self.expected(probabilities)
        return torch.stack([sign * (expected[metric] - bound) / max(bound, 1.0) for metric, bound, sign in self.bounds])

    def forward(self, probabilities: Mapping[str, Tensor]) -> Tensor:
        """The penalty, a scalar; 0 without bounds."""
        if not self.bounds:
            return next(iter(probabilities.values())).new_zeros(())
        r, m = self.stiffness, self.multipliers
        return (((m + r * self.excess(probabilities)).clamp_min(0) ** 2 - m**2) / (2 * r)).sum()

    @torch.no_grad()
    def update(self, probabilities: Mapping[str, Tensor]) -> None:
        """Move the multipliers after an architecture step."""
        if self.bounds:
            self.multipliers.add_(self.rate * self.excess(probabilities)).clamp_min_(0)
