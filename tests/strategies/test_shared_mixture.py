"""The full mixture: shared layers run once, and it is the candidates' mixture all the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nni.mutable import frozen_context
from nni.nas.nn.pytorch import LayerChoice
from torch import Tensor, nn

from search_space import SearchSpace, operators
from search_space.space import SepConvSpace
from strategies.one_shot.shared_mixture import SharedMixture

SPATIAL = tuple(name for name, operator in operators.items() if operator.scope == "spatial")


class Fixed(nn.Module):
    """Stands in for the softmax: the logits are the weights."""

    def forward(self, weights: Tensor) -> Tensor:
        return weights


def mixture(index: int = 4, **options: Any) -> tuple[SharedMixture, LayerChoice]:
    """Block ``index`` of a small space with random weights, as a mixture and as the choice it was made of."""
    torch.manual_seed(0)
    space = SepConvSpace(SearchSpace.create(**{"image_size": 16, "width": 0.25, **options})).double()
    for tensor in space.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) * 0.4 + 0.1)
    choice = space.blocks[index]
    alpha = nn.Parameter(torch.zeros(len(choice.names), dtype=torch.float64))
    with frozen_context({str(choice.label): choice.names[0]}):
        return SharedMixture(choice.candidates, alpha, Fixed(), str(choice.label)), choice


def images(layer: SharedMixture, index: int) -> Tensor:
    channels = {0: 8, 1: 8, 3: 8, 4: 16}[index]
    return torch.randn(3, channels, 8, 8, dtype=torch.float64)


@pytest.mark.parametrize("index", [0, 1, 4])
@pytest.mark.parametrize("search_se", [False, True])
def test_mixture_of_one_candidate_is_the_candidate(index: int, search_se: bool) -> None:
    families = ["dw_k3", "dw_linear_k5", "xsep_k3", "xsep_sp_k3", "c4sp", "mix_k357", "group_k3_w8", "hybrid_k3"]
    if index != 1:  # it changes the shape
        families.append("skip")
    layer, choice = mixture(index, operators=families, widths=(0.5, 1.0, 1.25), search_se=search_se)
    x = images(layer, index)
    with torch.no_grad():
        for i, name in enumerate(choice.names):
            layer._arch_alpha.zero_()
            layer._arch_alpha[i] = 1
            torch.testing.assert_close(layer(x), choice[name](x), msg=lambda text, name=name: f"{name}: {text}")


def test_whole_blocks_and_skip_are_mixed_by_their_outputs() -> None:
    layer, choice = mixture(operators=("sep_k3", "bsconv_u_k3", "skip"), widths=(1.0,))
    x = images(layer, 4)
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    layer._arch_alpha.data.copy_(weights)
    expected = sum(w * choice[name](x) for w, name in zip(weights, choice.names, strict=True))
    torch.testing.assert_close(layer(x), expected)


def test_inverted_residuals_are_mixed_before_the_projection() -> None:
    layer, choice = mixture(operators=("dw_k3", "dw_k5", "skip"), widths=(1.0,), stages={})
    x = images(layer, 4)
    weights = torch.tensor([0.3, 0.1, 0.6], dtype=torch.float64)
    layer._arch_alpha.data.copy_(weights)
    first, second = choice["dw_k3"], choice["dw_k5"]
    hidden = first.expand(x)
    inside = first.project(first.se(0.75 * first.spatial(hidden) + 0.25 * second.spatial(hidden)))
    torch.testing.assert_close(layer(x), 0.4 * (x + inside) + 0.6 * x)


@pytest.mark.parametrize("operator", ["dw_k5", "c2sp", "mix_k357", "group_k3_w4", "xsep_k3"])
def test_narrow_and_wide_candidates_mix_by_channel(operator: str) -> None:
    # block 1 has no squeeze-and-excitation: the mixture is linear up to the projection
    layer, choice = mixture(1, operators=(operator,), widths=(0.5, 1.0))
    x = images(layer, 1)
    layer._arch_alpha.data.copy_(torch.tensor([0.4, 0.6]))
    narrow, wide = (choice[name] for name in choice.names)
    hidden = wide.spatial(wide.expand(x)) * 0.6
    first = narrow.spatial(narrow.expand(x)) * 0.4
    hidden = hidden + nn.functional.pad(first, (0, 0, 0, 0, 0, hidden.shape[1] - first.shape[1]))
    torch.testing.assert_close(layer(x), wide.project(hidden))


def test_gradient_reaches_every_weight_and_every_layer() -> None:
    layer, _ = mixture(operators="full", search_se=True)
    layer._softmax = nn.Softmax(-1)
    x = images(layer, 4)
    (layer(x) * torch.randn_like(x)).sum().backward()
    assert layer._arch_alpha.grad is not None
    assert layer._arch_alpha.grad.abs().min() > 0
    without = [name for name, p in layer.named_parameters() if p.grad is None]
    assert not without


def test_shared_layers_run_once() -> None:
    layer, choice = mixture(operators=("dw_k3", "dw_k5", "xsep_k3", "c2sp"))
    calls: dict[str, int] = {}

    def count(module: nn.Module, *_: Any) -> None:
        key = f"{type(module).__name__} {module.kernel_size} {module.groups > 1}"  # type: ignore[attr-defined]
        calls[key] = calls.get(key, 0) + 1

    for module in layer.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    layer(images(layer, 4))
    assert len(choice.names) == 16
    # expansion, projection, and two convolutions of squeeze-and-excitation for each of four widths
    assert calls.pop("Conv2d (1, 1) False") == 2 + 2 * 4
    # the padding groups of c2sp move with the width: it runs for each; the others once
    assert calls == {
        "Conv2d (3, 3) True": 1,
        "Conv2d (5, 5) True": 1,
        "Conv2d (2, 2) True": 1 + 4,
        "Conv2d (1, 3) True": 1,
        "Conv2d (3, 1) True": 1,
    }


def test_choices_of_other_spaces_are_mixed_by_their_outputs() -> None:
    alpha = nn.Parameter(torch.tensor([0.2, 0.8]))
    with frozen_context({"other": "a"}):
        choice = LayerChoice({"a": nn.Linear(3, 2), "b": nn.Linear(3, 2)}, label="other")
        layer = SharedMixture.mutate(choice, "other", {"other": alpha}, {"softmax": Fixed()})
    assert layer is not None
    x = torch.randn(4, 3)
    torch.testing.assert_close(layer(x), 0.2 * choice["a"](x) + 0.8 * choice["b"](x))
    assert SharedMixture.mutate(nn.Linear(1, 1), "", {}, {}) is None


@pytest.mark.parametrize("name", SPATIAL)
def test_channelwise_operators_are_prefixes_and_the_others_are_not(name: str) -> None:
    """What the mixture relies on: the first channels of the wide output are the narrow output."""
    _, choice = mixture(1, operators=tuple(dict.fromkeys((name, "dw_k3"))), widths=(0.5, 1.0), width=1.0)
    names = [own for own in choice.names if own.split("-")[0] == name]
    if len(names) < 2:
        pytest.skip("the groups fit one width only")
    narrow, wide = (choice[own].spatial for own in names)
    channels = choice[names[0]].project.layer.conv.in_channels
    x = torch.randn(2, choice[names[1]].project.conv.in_channels, 8, 8, dtype=torch.float64)
    first = wide(x)[:, :channels]
    same = torch.allclose(first, narrow(x[:, :channels]))
    if operators[name].channelwise:
        assert same
    elif not name.startswith("group"):  # groups that both widths hold whole are prefixes by chance
        assert not same
