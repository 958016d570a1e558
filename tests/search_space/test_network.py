"""The network around the operators: residuals, squeeze-and-excitation, head, initialisation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from search_space import Architecture, Block, Head, Network, Stem, baseline, build
from search_space.layers import SqueezeExcite

SPATIAL = Block("dw_k3", 4, 4, expanded_channels=8, residual=True)
WHOLE = Block("sep_k3", 4, 4, residual=True)


def network(*blocks: Block, head: Head | None = None) -> Network:
    torch.manual_seed(0)
    return build(Architecture("m", 6, 3, 5, Stem(4, 1), blocks, head or Head(0, 0))).eval()


@pytest.mark.parametrize("block", [SPATIAL, WHOLE], ids=["inverted residual", "whole block"])
def test_residual_adds_the_input_and_only_where_asked_for(block: Block) -> None:
    with_residual, without = network(block).blocks[0], network(Block(**{**vars(block), "residual": False})).blocks[0]
    without.load_state_dict(with_residual.state_dict())
    x = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(with_residual(x), x + without(x))
    assert not torch.allclose(with_residual(x), without(x))


def test_inverted_residual_expands_filters_squeezes_and_projects() -> None:
    block = network(Block("dw_k3", 4, 6, 2, expanded_channels=8, se_channels=3)).blocks[0]
    x = torch.randn(2, 4, 6, 6)
    eps = block.project.norm.eps
    scale = 1 / math.sqrt(1 + eps)  # a fresh batch norm in evaluation mode
    y = F.relu(F.conv2d(x, block.expand.conv.weight) * scale)
    y = F.relu(F.conv2d(y, block.spatial.conv.weight, stride=2, padding=1, groups=8) * scale)
    gate = F.conv2d(F.relu(F.conv2d(y.mean((2, 3), keepdim=True), block.se.reduce.weight)), block.se.expand.weight)
    y = F.conv2d(y * F.hardsigmoid(gate), block.project.conv.weight) * scale
    torch.testing.assert_close(block(x), y)


def test_squeeze_and_excitation_scales_channels_by_a_gate_between_zero_and_one() -> None:
    layer = SqueezeExcite(4, 2, bias=True)
    nn.init.constant_(layer.expand.weight, 0)
    layer.expand.bias.data.copy_(torch.tensor([-3.0, 0.0, 1.5, 3.0]))
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(layer(x), x * torch.tensor([0, 0.5, 0.75, 1])[:, None, None])


def test_squeezed_features_pass_a_relu() -> None:
    layer = SqueezeExcite(1, 2, bias=False)
    layer.reduce.weight.data.copy_(torch.tensor([1.0, -1.0])[:, None, None, None])
    nn.init.constant_(layer.expand.weight, 1)
    x = torch.full((1, 1, 2, 2), 1.5)
    torch.testing.assert_close(layer(x), x * 0.75)  # hardsigmoid(relu(1.5) + relu(-1.5))


def test_head_is_convolution_mean_hidden_layer_classifier() -> None:
    own = network(WHOLE, head=Head(7, 9, "relu", features_bias=True)).head
    x = torch.randn(2, 4, 6, 6)
    mean = F.relu(F.conv2d(x, own.conv.conv.weight) / math.sqrt(1 + own.conv.norm.eps)).mean((2, 3))
    hidden = F.relu(F.linear(mean, own.features[0].weight, own.features[0].bias))
    torch.testing.assert_close(own(x), F.linear(hidden, own.classifier.weight, own.classifier.bias))


def test_empty_head_is_mean_and_classifier() -> None:
    own = network(WHOLE).head
    x = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(own(x), F.linear(x.mean((2, 3)), own.classifier.weight, own.classifier.bias))
    assert [name for name, _ in own.named_parameters()] == ["classifier.weight", "classifier.bias"]


def test_skip_is_the_identity() -> None:
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(network(Block("skip", 4, 4)).blocks[0](x), x)


def test_weights_are_initialised_as_mobilenets_are() -> None:
    torch.manual_seed(0)
    own = build(baseline("mobilenetv3-small"))
    wide = own.blocks[10].project.conv.weight  # 96 x 576: fan-out 96
    assert wide.std().item() == pytest.approx(math.sqrt(2 / 96), rel=0.02)
    assert own.head.features[0].weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not own.head.classifier.bias.any()


def test_weights_follow_torchs_seed() -> None:
    torch.manual_seed(1)
    one, other = build(baseline("mobilenetv3-small", width=0.25)), build(baseline("mobilenetv3-small", width=0.25))
    torch.manual_seed(1)
    again = build(baseline("mobilenetv3-small", width=0.25))
    assert torch.equal(one.head.classifier.weight, again.head.classifier.weight)
    assert not torch.equal(one.head.classifier.weight, other.head.classifier.weight)


def test_names_in_the_state_dict_tell_the_role() -> None:
    names = set(network(Block("xsep_k3", 4, 4, expanded_channels=8, se_channels=2)).state_dict())
    assert {
        "stem.conv.weight",
        "blocks.0.expand.norm.weight",
        "blocks.0.spatial.corner.conv.weight",
        "blocks.0.spatial.separated.row.conv.weight",
        "blocks.0.spatial.separated.column.conv.weight",
        "blocks.0.se.reduce.weight",
        "blocks.0.project.conv.weight",
        "head.classifier.bias",
    } <= names


def test_network_holds_nothing_of_nni() -> None:
    own = build(baseline("mobilenetv3-small-xsep", width=0.25))
    assert {type(module).__module__.partition(".")[0] for module in own.modules()} == {"torch", "search_space"}
