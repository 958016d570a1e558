"""The budget penalty: right value, real gradient, multipliers that bring the expectation inside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.spaces import all_samples, random_table
from nni.mutable import frozen_context
from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedLayer
from torch import nn

from search_space.cost_table import CostTable
from strategies import Budget
from strategies.one_shot.lagrangian import BudgetPenalty


def random_alphas(table: CostTable, seed: int = 0) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return {
        label: nn.Parameter(torch.randn(len(values), generator=generator)) for label, values in table.candidates.items()
    }


def test_expected_cost_is_the_mean_over_all_architectures() -> None:
    table = random_table(np.random.default_rng(0), labels=3, candidates=4)
    alphas = random_alphas(table)
    expected = BudgetPenalty(table, Budget(max_macs=1, min_params=1)).expected(alphas)
    p = {label: torch.softmax(alpha, -1).tolist() for label, alpha in alphas.items()}
    mean = {"macs": 0.0, "params": 0.0}
    for sample in all_samples(table):
        weight = np.prod([p[label][table.candidates[label].index(name)] for label, name in sample.items()])
        for metric, value in table.cost(sample).items():
            mean[metric] += weight * value
    assert {metric: value.item() for metric, value in expected.items()} == pytest.approx(mean, rel=1e-5)


def test_the_pressure_follows_the_expected_costs_gradient_for_every_parameter() -> None:
    table = random_table(np.random.default_rng(1), labels=3, candidates=4)
    low, high = table.reachable()["macs"]
    alphas = random_alphas(table)
    penalty = BudgetPenalty(table, Budget(max_macs=(low + high) // 4), stiffness=1.0)
    for alpha in alphas.values():
        alpha.grad = torch.full_like(alpha, 0.5)
    penalty.add_gradients(alphas)
    pressure = torch.cat([alpha.grad - 0.5 for alpha in alphas.values() if alpha.grad is not None])
    assert (pressure != 0).all()
    # its direction is that of a difference quotient of the expected cost
    quotients, step = [], 1e-2
    with torch.no_grad():
        for label in table.labels:
            for index in range(4):
                values = []
                for sign in (1, -1):
                    moved = {name: alpha.clone() for name, alpha in alphas.items()}
                    moved[label][index] += sign * step
                    values.append(penalty.expected(moved)["macs"])
                quotients.append((values[0] - values[1]) / (2 * step))
    assert torch.cosine_similarity(pressure, torch.stack(quotients), dim=0) > 0.999
    # and its size is the relative excess, in units of the task's gradient
    excess = penalty.excess(alphas)[0].item()
    assert excess > 0
    assert pressure.norm().item() == pytest.approx(excess * np.sqrt(12 * 0.25), rel=1e-3)


def test_nnis_own_penalty_has_no_gradient() -> None:
    """The reason for ours: what NNI feeds its penalty with are numbers, not tensors."""
    with frozen_context():
        layer = DifferentiableMixedLayer(
            {"a": nn.Identity(), "b": nn.Identity()}, nn.Parameter(torch.zeros(2)), nn.Softmax(-1), "label"
        )
    assert all(isinstance(p, float) for p in layer.export_probs({})["label"].values())


def test_inside_the_budget_nothing_is_added() -> None:
    table = random_table(np.random.default_rng(2), labels=3, candidates=4)
    low, high = table.reachable()["macs"]
    for budget in (Budget(max_macs=high, min_macs=low), Budget()):
        penalty = BudgetPenalty(table, budget)
        alphas = random_alphas(table)
        for alpha in alphas.values():
            alpha.grad = torch.ones_like(alpha)
        penalty.add_gradients(alphas)
        assert all(torch.equal(alpha.grad, torch.ones_like(alpha)) for alpha in alphas.values())  # type: ignore[arg-type]
        penalty.update(alphas)
        assert not penalty.multipliers.any()


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_the_expected_cost_comes_inside_whatever_the_loss_scale(scale: float, share: float) -> None:
    """A task that always wants the dearest candidate, against budgets of 30 to 70% of the range, default settings."""
    table = random_table(np.random.default_rng(3), labels=6, candidates=5)
    low, high = table.reachable()["macs"]
    budget = low + share * (high - low)
    penalty = BudgetPenalty(table, Budget(max_macs=int(budget)))
    alphas = {label: nn.Parameter(torch.zeros(5)) for label in table.labels}
    wanted = {label: torch.tensor(table.costs["macs"][label] / (high - low)) for label in table.labels}
    optimizer = torch.optim.Adam(alphas.values(), 0.02, betas=(0.5, 0.999))
    for _ in range(1000):
        loss = -scale * sum((torch.softmax(alpha, -1) * wanted[label]).sum() for label, alpha in alphas.items())
        optimizer.zero_grad()
        torch.as_tensor(loss).backward()
        penalty.add_gradients(alphas)
        optimizer.step()
        penalty.update(alphas)
    assert penalty.expected(alphas)["macs"].item() == pytest.approx(budget, rel=0.02)


def test_the_state_travels() -> None:
    table = random_table(np.random.default_rng(4), labels=2, candidates=3)
    penalty = BudgetPenalty(table, Budget(max_macs=1))
    alphas = random_alphas(table)
    for alpha in alphas.values():
        alpha.grad = torch.ones_like(alpha)
    penalty.add_gradients(alphas)
    penalty.update(alphas)
    other = BudgetPenalty(table, Budget(max_macs=1))
    other.load_state_dict(penalty.state_dict())
    assert sorted(penalty.state_dict()) == ["multipliers", "task_norm"]
    assert other.multipliers.item() == penalty.multipliers.item() > 0
    assert other.task_norm.item() == penalty.task_norm.item() > 0


def test_two_violated_bounds_press_together() -> None:
    """MACs and parameters share the probabilities: the gradient of one must not use up the graph of the other."""
    table = random_table(np.random.default_rng(5), labels=3, candidates=4)
    pressures = []
    for budget in (Budget(max_macs=1), Budget(max_params=1), Budget(max_macs=1, max_params=1)):
        alphas = random_alphas(table)
        for alpha in alphas.values():
            alpha.grad = torch.ones_like(alpha)
        BudgetPenalty(table, budget).add_gradients(alphas)
        pressures.append(torch.cat([alpha.grad - 1 for alpha in alphas.values() if alpha.grad is not None]))
    assert torch.allclose(pressures[0] + pressures[1], pressures[2], rtol=1e-3)
