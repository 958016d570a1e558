"""Single paths: one candidate runs, paths follow the probabilities, the gradient is that of the expected loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from nni.mutable import frozen_context
from scipy.stats import chisquare
from torch import Tensor, nn

from search_space.cost_table import CostTable
from strategies import GDAS, Budget
from strategies.one_shot.base import Draws
from strategies.one_shot.lagrangian import BudgetPenalty
from strategies.one_shot.single_path import ContrastModule, SinglePathLayer


class Times(nn.Module):
    """Multiplies by a weight and counts its calls."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.factor * x


def layer(alpha: list[float], seed: int = 0, label: str = "label") -> SinglePathLayer:
    with frozen_context():
        made = SinglePathLayer(
            {f"op{i}": Times(float(i + 1)) for i in range(len(alpha))},
            nn.Parameter(torch.tensor(alpha)),
            nn.Softmax(-1),
            label,
        )
    made.draws.generator = torch.Generator().manual_seed(seed)
    return made


def test_exactly_one_candidate_runs_and_the_output_is_its_own() -> None:
    mixed = layer([0.0, 0.0, 0.0])
    x = torch.randn(3)
    for _ in range(10):
        name = mixed.resample({})["label"]
        before = {key: mixed[key].calls for key in mixed.names}
        assert torch.allclose(mixed(x), mixed[name].factor * x)
        assert {key: mixed[key].calls - before[key] for key in mixed.names} == {
            key: int(key == name) for key in mixed.names
        }


def test_paths_follow_the_softmax_of_the_parameters() -> None:
    mixed = layer([1.0, 0.0, -1.0])
    draws = [mixed.resample({})["label"] for _ in range(3000)]
    expected = torch.softmax(mixed._arch_alpha.detach().double(), -1) * len(draws)
    counts = [draws.count(name) for name in mixed.names]
    assert chisquare(counts, expected.numpy()).pvalue > 0.001


def test_a_weight_step_leaves_the_architecture_parameters_alone() -> None:
    mixed = layer([0.0, 0.0])
    mixed.resample({})
    with torch.no_grad():
        mixed.resample({})
    mixed(torch.tensor(2.0)).backward()
    assert mixed._arch_alpha.grad is None


def test_layers_with_one_label_take_one_path_and_seeds_repeat() -> None:
    first, second = layer([0.0] * 5, seed=1), layer([0.0] * 5, seed=1)
    sequence = [first.resample({})["label"] for _ in range(20)]
    assert sequence == [second.resample({})["label"] for _ in range(20)]
    assert len(set(sequence)) > 1
    assert second.resample({"label": "op3"}) == {}
    assert torch.equal(second(torch.tensor(1.0)), torch.tensor(4.0))


def test_forward_before_resample_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="label 'label': resample\\(\\) before the first forward pass"):
        layer([0.0, 0.0])(torch.tensor(1.0))


class _Losses(nn.Module):
    """A task whose loss is a table's entry for the path that two layers have taken."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table
        self.first, self.second = (layer([0.3, -0.2, 0.5], label=label) for label in ("first", "second"))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.table[self.first._sampled, self.second._sampled]


def contrasts(task: _Losses, **options: int) -> ContrastModule:
    alphas = {"first": task.first._arch_alpha, "second": task.second._arch_alpha}
    strategy = GDAS(costs=COSTS, **options)
    penalty = BudgetPenalty(COSTS, Budget())
    draws = Draws(torch.Generator().manual_seed(0))
    return ContrastModule(task, strategy.options, alphas=alphas, penalty=penalty, draws=draws, gradient_clip_val=None)


COSTS = CostTable(
    dict.fromkeys(("first", "second"), ("op0", "op1", "op2")),
    {metric: dict.fromkeys(("first", "second"), np.arange(3)) for metric in ("macs", "params")},
    {"macs": 0, "params": 0},
)


def test_the_mean_gradient_is_that_of_the_expected_loss_and_only_one_block_has_one() -> None:
    task = _Losses(torch.tensor([[1.0, 4.0, 2.0], [0.5, 0.0, 3.0], [2.0, 1.0, 1.5]]))
    module = contrasts(task, candidates_per_step=3)
    first, second = module.alphas.values()
    expected = torch.softmax(first, 0) @ task.table @ torch.softmax(second, 0)
    exact = torch.autograd.grad(expected, [first, second])
    sums = [torch.zeros(3), torch.zeros(3)]
    for step in range(2000):
        first.grad = second.grad = None
        module._set_task_gradients(None, step)
        assert (first.grad is None) != (second.grad is None)
        for total, alpha in zip(sums, (first, second), strict=True):
            total += 0 if alpha.grad is None else alpha.grad
    for total, wanted in zip(sums, exact, strict=True):
        assert total / 1000 == pytest.approx(wanted, abs=0.05)


def test_only_candidates_that_were_compared_get_a_gradient_and_it_sums_to_zero() -> None:
    module = contrasts(_Losses(torch.rand(3, 3, generator=torch.Generator().manual_seed(0))), candidates_per_step=2)
    for step in range(20):
        for alpha in module.alphas.values():
            alpha.grad = None
        module._set_task_gradients(None, step)
        (gradient,) = (alpha.grad for alpha in module.alphas.values() if alpha.grad is not None)
        assert gradient.count_nonzero() == 2
        assert gradient.sum().item() == pytest.approx(0, abs=1e-6)


def test_turns_go_on_after_a_checkpoint() -> None:
    first, second = (contrasts(_Losses(torch.rand(3, 3))) for _ in range(2))
    first._next_label()
    checkpoint: dict[str, Any] = {}
    first.on_save_checkpoint(checkpoint)
    second.on_load_checkpoint(checkpoint)
    assert [first._next_label() for _ in range(9)] == [second._next_label() for _ in range(9)]
