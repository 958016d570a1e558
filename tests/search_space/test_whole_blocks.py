"""Whole-block operators as blocks: Inception and its re-formulation, ResNeXt, the hybrid, and where activations sit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space import Block, InvalidRequest, Slot, operators
from search_space.layers import ACTIVATIONS
from search_space.network import WholeBlock, make_block
from search_space.supernet import initialise_supernet

WHOLE = [name for name, operator in operators.items() if operator.scope == "block"]


def randomise(module: nn.Module) -> nn.Module:
    """Weights, scales, shifts and running statistics that are all different, in double precision."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in module.double().state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(generator=generator)
    return module


def noise(channels: int, *size: int) -> Tensor:
    return torch.randn(3, channels, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def reformulated(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of ``inception_k*`` as one of ``inception_re_k*``: the 1x1 convolutions of the towers stacked."""
    result = {name: tensor for name, tensor in state.items() if not name.startswith("reduce.")}
    for part in ("conv.weight", *(f"norm.{p}" for p in ("weight", "bias", "running_mean", "running_var"))):
        result[f"reduce.{part}"] = torch.cat([state[f"reduce.{tower}.{part}"] for tower in range(3)])
    result["reduce.norm.num_batches_tracked"] = state["reduce.0.norm.num_batches_tracked"]
    return result


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("out_channels", [3, 7, 12])
@pytest.mark.parametrize("k", [3, 5])
def test_reformulated_inception_is_strictly_equivalent(k: int, out_channels: int, stride: int) -> None:
    slot = Slot(5, out_channels, stride, 9, 8, "relu")
    towers = randomise(operators[f"inception_k{k}"].module(slot, ()))
    one = operators[f"inception_re_k{k}"].module(slot, ()).double()
    one.load_state_dict(reformulated(towers.state_dict()))
    x = noise(5, 9, 8)
    torch.testing.assert_close(one.eval()(x), towers.eval()(x))
    torch.testing.assert_close(one.train()(x), towers.train()(x))
    # also after that step of training, which moved the running statistics
    torch.testing.assert_close(one.state_dict(), reformulated(towers.state_dict()))
    torch.testing.assert_close(one.eval()(x), towers.eval()(x))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("k", [3, 5])
def test_both_inceptions_cost_the_same(k: int, stride: int) -> None:
    slot = Slot(16, 24, stride, 8, 8, "relu")
    cost = operators[f"inception_k{k}"].cost(slot)
    assert cost == operators[f"inception_re_k{k}"].cost(slot)
    # 24 channels are towers of 8, and the 1x1 sees the map before the stride
    assert cost.macs == 16 * 24 * 64 + 3 * 8 * 8 * k * k * 64 // stride**2


@pytest.mark.parametrize("name", ["inception_k3", "inception_k5", "inception_re_k3", "inception_re_k5"])
def test_inception_needs_a_channel_a_tower(name: str) -> None:
    Block(name, 1, 3).check("blocks[0]")
    with pytest.raises(InvalidRequest) as caught:
        Block(name, 8, 2).check("blocks[0]")
    assert str(caught.value) == (
        f"blocks[0].operator: {name} does not fit, as 2 output channels cannot be split in 3 towers"
    )


def test_resnext_has_the_parameters_of_the_papers_32x4d_block() -> None:
    """ResNeXt (Xie et al.), eq. 4: C (256 d + 3 * 3 * d * d + d * 256) = about 70k with C = 32, d = 4."""
    cost = operators["resnext_k3"].cost(Slot(256, 256, 1, 56, 56, "relu"))
    batch_norms = 2 * (128 + 128 + 256)
    assert cost.params == 32 * (256 * 4 + 3 * 3 * 4 * 4 + 4 * 256) + batch_norms == 70_144 + 1_024
    assert cost.macs == 70_144 * 56 * 56


@pytest.mark.parametrize(
    ("out_channels", "inner"),
    [(1, 4), (2, 4), (4, 4), (8, 4), (11, 4), (12, 8), (16, 8), (24, 12), (40, 20), (48, 24), (96, 48)],
)
def test_inner_width_of_resnext_is_half_the_output_in_paths_of_four(out_channels: int, inner: int) -> None:
    module = operators["resnext_k3"].module(Slot(8, out_channels, 1, 4, 4, "relu"), ())
    assert module.paths.conv.weight.shape == (inner, 4, 3, 3)
    assert module.paths.conv.groups == inner // 4


@pytest.mark.parametrize("activation", ["relu", "hardswish"])
@pytest.mark.parametrize("name", ["resnext_k3", "resnext_k5", "hybrid_k3", "hybrid_k5", "hybrid_k7"])
@pytest.mark.parametrize(("out_channels", "stride", "residual"), [(8, 1, True), (8, 1, False), (6, 2, False)])
def test_activation_follows_the_residual_sum(
    name: str, activation: str, out_channels: int, stride: int, residual: bool
) -> None:
    block = Block(name, 8, out_channels, stride, activation=activation, residual=residual)
    module = randomise(make_block(block, 7, (), orthonormal=False)).eval()
    x = noise(8, 7, 7)
    linear = module.body(x)
    assert (linear < 0).any(), "the operator's own module ends with an activation"
    torch.testing.assert_close(module(x), ACTIVATIONS[activation]()(x + linear if residual else linear))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("k", [3, 5, 7])
def test_hybrid_without_residual_is_the_separable_convolution(k: int, stride: int) -> None:
    hybrid, separable = (
        make_block(Block(name, 8, 6, stride), 7, (), orthonormal=False).double()
        for name in (f"hybrid_k{k}", f"sep_k{k}")
    )
    hybrid.load_state_dict(randomise(separable).state_dict())
    x = noise(8, 7, 7)
    for training in (True, False):
        expected = separable.train(training)(x)
        torch.testing.assert_close(hybrid.train(training)(x), expected)


@pytest.mark.parametrize("k", [3, 5, 7])
def test_hybrid_with_residual_differs_from_the_separable_convolution_only_in_where_it_rectifies(k: int) -> None:
    hybrid, separable = (
        make_block(Block(name, 8, 8, residual=True), 7, (), orthonormal=False).double()
        for name in (f"hybrid_k{k}", f"sep_k{k}")
    )
    hybrid.load_state_dict(randomise(separable).state_dict())
    x = noise(8, 7, 7)
    linear = separable.eval().body.pointwise.norm(separable.body.pointwise.conv(separable.body.depthwise(x)))
    torch.testing.assert_close(separable(x), x + F.relu(linear))
    torch.testing.assert_close(hybrid.eval()(x), F.relu(x + linear))


@pytest.mark.parametrize("name", WHOLE)
def test_other_operators_end_with_their_activation_before_the_sum(name: str) -> None:
    block = Block(name, 8, 8, activation="relu", residual=True)
    module = randomise(make_block(block, 7, (), orthonormal=False)).eval()
    x = noise(8, 7, 7)
    negative = bool((module(x) < 0).any())  # x + relu(y) follows x below 0, relu(x + y) does not
    assert negative == (not operators[name].activation_after_residual)


@pytest.mark.parametrize("name", WHOLE)
def test_residual_blocks_start_in_a_supernet_as_the_identity_but_for_a_last_activation(name: str) -> None:
    block = Block(name, 8, 8, activation="relu", residual=True)
    module = make_block(block, 7, (), orthonormal=False)
    assert isinstance(module, WholeBlock)
    initialise_supernet(module)
    x = torch.randn(2, 8, 7, 7)
    expected = F.relu(x) if operators[name].activation_after_residual else x
    assert torch.equal(module.train()(x), expected)
