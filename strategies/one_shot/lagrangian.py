"""Budget pressure of differentiable search: an augmented Lagrangian whose multipliers adapt by themselves."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from search_space.cost_table import CostTable
from strategies.budget.budget import Budget


class BudgetPenalty(nn.Module):
    """Adds to the gradient of the architecture parameters what keeps their *expected* cost inside a budget.

    For each bound, ``g`` is the relative excess of the expected cost (negative inside). Its gradient is added with the
    weight ``max(0, m + stiffness * g)`` of the augmented Lagrangian for inequalities; after each step the multiplier
    ``m`` moves by ``rate * g`` and never below 0. Weights are in units of the task's gradient (a running mean of its
    norm): a weight of 1 pushes as hard as the task does, whatever the scale of its loss. Both are buffers, for
    checkpoints.
    """

    multipliers: Tensor
    task_norm: Tensor

    def __init__(self, table: CostTable, budget: Budget, *, rate: float = 0.2, stiffness: float = 2.0) -> None:
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
        self.register_buffer("task_norm", torch.zeros(()))

    def expected(self, alphas: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{metric: expected cost, a scalar} of the bounded metrics; ``alphas`` is {label: logits (candidates,)}."""
        probabilities = [torch.softmax(alphas[label], -1) for label in self.labels]
        return {
            metric: fixed
            + torch.stack(
                [(p * self.get_buffer(f"_{metric}_{index}")).sum() for index, p in enumerate(probabilities)]
            ).sum()
            for metric, fixed in self.fixed.items()
        }

    def excess(self, alphas: Mapping[str, Tensor]) -> list[Tensor]:
        """Relative violation of each bound, scalars with gradient; negative inside."""
        expected = self.expected(alphas)
        return [sign * (expected[metric] - bound) / (bound or 1.0) for metric, bound, sign in self.bounds]

    def add_gradients(self, alphas: Mapping[str, nn.Parameter]) -> None:
        """Add the pressure to ``alphas[label].grad``, which holds the task's gradient."""
        if not self.bounds:
            return
        parameters = list(alphas.values())
        task_norm = _norm([torch.zeros_like(p) if p.grad is None else p.grad for p in parameters])
        decay = 0.9 if self.task_norm > 0 else 0.0
        self.task_norm.mul_(decay).add_((1 - decay) * task_norm)
        for multiplier, excess in zip(self.multipliers, self.excess(alphas), strict=True):
            weight = multiplier + self.stiffness * excess.detach()
            if weight <= 0:
                continue
            gradients = torch.autograd.grad(excess, parameters, retain_graph=True)  # bounds share the softmax
            # where the softmax is saturated the gradient is tiny but its direction still counts
            scale = weight * self.task_norm / _norm(gradients).clamp_min(1e-12)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                pressure = scale * gradient
                parameter.grad = pressure if parameter.grad is None else parameter.grad + pressure

    @torch.no_grad()
    def update(self, alphas: Mapping[str, Tensor]) -> None:
        """Move the multipliers after an architecture step."""
        if self.bounds:
            self.multipliers.add_(self.rate * torch.stack(self.excess(alphas))).clamp_min_(0)


def _norm(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return torch.stack([tensor.square().sum() for tensor in tensors]).sum().sqrt()
