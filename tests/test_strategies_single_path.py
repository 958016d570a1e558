"""The single-path layer: one candidate runs, the gradient is GDAS's, paths follow the probabilities."""

from __future__ import annotations

import pytest
import torch
from nni.mutable import frozen_context
from scipy.stats import chisquare
from torch import Tensor, nn

from strategies.one_shot.single_path import SinglePathLayer


class Times(nn.Module):
    """Multiplies by a weight and counts its calls."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.factor * x


def layer(alpha: list[float], seed: int = 0) -> SinglePathLayer:
    with frozen_context():
        made = SinglePathLayer(
            {f"op{i}": Times(float(i + 1)) for i in range(len(alpha))},
            nn.Parameter(torch.tensor(alpha)),
            nn.Softmax(-1),
            "label",
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


def test_the_gradient_is_that_of_the_relaxed_one_hot_vector() -> None:
    mixed = layer([0.3, -0.2, 0.5])
    mixed.draws.tau = 0.7
    state = mixed.draws.generator.get_state()  # type: ignore[union-attr]
    name = mixed.resample({})["label"]
    output = mixed(torch.tensor(1.0))
    output.backward()
    noise = -torch.empty(3).exponential_(generator=torch.Generator().set_state(state)).log()
    p = torch.softmax((mixed._arch_alpha.detach() + noise) / mixed.draws.tau, -1)
    chosen = mixed.names.index(name)
    # d(x + w_chosen * (output - x)) / d alpha with x = 1: the change times a row of the softmax's Jacobian, over tau
    expected = (output.detach() - 1) * p[chosen] * (torch.eye(3)[chosen] - p) / mixed.draws.tau
    assert mixed._arch_alpha.grad is not None
    assert torch.allclose(mixed._arch_alpha.grad, expected, atol=1e-6)


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
