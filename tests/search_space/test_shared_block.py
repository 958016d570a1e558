"""Candidates of several widths in one block: they compute with, and train, the first channels of the widest."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from search_space import Block, SearchSpace, operators
from search_space.network import make_block
from search_space.padding import direction_at
from search_space.sliced import Sliced, layers_with_weights
from search_space.supernet import supernet_candidates
from strategies.one_shot.base import frozen_statistics

SPATIAL = tuple(name for name, operator in operators.items() if operator.scope == "spatial")
WIDE = Block("dw_k3", 8, 8, expanded_channels=48, activation="hardswish", se_channels=16, residual=True)
NARROW = replace(WIDE, expanded_channels=32, se_channels=8)
#: no expansion, no squeeze-and-excitation
PLAIN = replace(WIDE, expanded_channels=8, se_channels=0)


def candidates(operator: str = "dw_k3") -> dict[str, nn.Module]:
    blocks = [replace(block, operator=operator) for block in (NARROW, PLAIN, WIDE)]
    fitting = [block for block in blocks if block.definition.unfit(block.slot(6, 6)) is None]
    torch.manual_seed(0)
    modules = supernet_candidates(fitting, [f"e{b.expanded_channels}" for b in fitting], index=2, size=6)
    for module in modules.values():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) * 0.4 + 0.1)
    return modules


def alone(block: Block) -> nn.Module:
    """The block on its own, padded as at position 2."""
    own = (direction_at(3),) * block.definition.directed_layers
    return make_block(block, 6, own, orthonormal=False)


def load_first_channels(network: nn.Module, wide: dict[str, torch.Tensor]) -> None:
    network.load_state_dict(
        {name: wide[name][tuple(map(slice, tensor.shape))].clone() for name, tensor in network.state_dict().items()}
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("operator", SPATIAL)
def test_narrow_candidates_are_networks_of_the_first_channels(operator: str, training: bool) -> None:
    modules = candidates(operator)
    block = replace(NARROW, operator=operator)
    reference = alone(block)
    load_first_channels(reference, modules["e48"].state_dict())
    x = torch.randn(4, 8, 6, 6)
    narrow = modules["e32"].train(training)
    torch.testing.assert_close(narrow(x), reference.train(training)(x), atol=1e-6, rtol=1e-5)


def test_gradients_land_in_the_first_channels_of_the_wide_layers() -> None:
    modules = candidates()
    reference = alone(NARROW)
    load_first_channels(reference, modules["e48"].state_dict())
    x = torch.randn(4, 8, 6, 6)
    for module in (modules["e32"], reference):
        module.train()(x).square().sum().backward()
    wide = dict(modules["e48"].named_parameters())
    for name, parameter in reference.named_parameters():
        gradient = wide[name].grad
        assert gradient is not None
        assert parameter.grad is not None
        inside = tuple(map(slice, parameter.shape))
        torch.testing.assert_close(gradient[inside], parameter.grad)
        rest = gradient.clone()
        rest[inside] = 0
        assert not rest.any(), name


def test_running_statistics_land_in_the_first_channels() -> None:
    modules = candidates()
    before = copy.deepcopy(modules["e48"].state_dict())
    reference = alone(NARROW)
    load_first_channels(reference, before)
    x = torch.randn(4, 8, 6, 6)
    modules["e32"].train()(x)
    reference.train()(x)
    for name, tensor in modules["e48"].state_dict().items():
        if "running" in name:
            own = reference.state_dict()[name]
            torch.testing.assert_close(tensor[: len(own)], own)
            assert torch.equal(tensor[len(own) :], before[name][len(own) :])
        elif "num_batches" in name:
            assert tensor == before[name] + 1


@pytest.mark.parametrize("name", ["e8", "e32", "e48"])
def test_running_statistics_can_be_left_alone(name: str) -> None:
    block = nn.ModuleDict(candidates()).train()
    before = copy.deepcopy(block.state_dict())
    x = torch.randn(4, 8, 6, 6)
    with frozen_statistics(block[name]):
        inside = block[name](x)
    assert all(torch.equal(tensor, before[key]) for key, tensor in block.state_dict().items())
    torch.testing.assert_close(block[name](x), inside)  # normalised by the batch all the same
    assert not all(torch.equal(tensor, before[key]) for key, tensor in block.state_dict().items())


def test_narrow_candidates_have_no_tensors_of_their_own() -> None:
    modules = candidates()
    assert not list(modules["e32"].parameters())
    assert not modules["e32"].state_dict()
    assert {type(part) for part in layers_with_weights(modules["e32"])} == {type(modules["e32"])}
    # without an expansion only its own batch norm, behind the projection, is of full width
    assert isinstance(modules["e8"].expand, nn.Identity)
    assert isinstance(modules["e8"].se, nn.Identity)
    assert isinstance(modules["e8"].project, Sliced)


@pytest.mark.parametrize("change", [copy.deepcopy, lambda module: module.load_state_dict(dict(module.state_dict()))])
def test_spaces_with_narrow_candidates_copy_and_load(change: Callable[[nn.Module], object]) -> None:
    block = nn.ModuleDict(candidates())
    x = torch.randn(2, 8, 6, 6)
    expected = block["e32"].eval()(x)
    changed = change(block)
    again = changed if isinstance(changed, nn.ModuleDict) else block
    torch.testing.assert_close(again["e32"](x), expected)
    if again is not block:  # the copy reads its own wide layers
        nn.init.zeros_(again["e48"].project.conv.weight)
        torch.testing.assert_close(block["e32"](x), expected)
        assert not torch.equal(again["e32"](x), expected)


def test_narrow_candidates_follow_their_wide_layers_to_another_type() -> None:
    block = nn.ModuleDict(candidates())
    x = torch.randn(2, 8, 6, 6)
    expected = block["e32"].eval()(x)
    torch.testing.assert_close(block.double()["e32"](x.double()), expected.double(), atol=1e-5, rtol=1e-4)


def test_full_supernet_is_built_of_all_candidates() -> None:
    space = SearchSpace.create(operators="full", width=0.25, image_size=16)
    for index in (0, 5):
        modules = supernet_candidates(space.choices[index], space.candidates[index], index=index, size=8)
        x = torch.randn(2, space.skeleton.blocks[index].in_channels, 8, 8)
        shapes = {name: tuple(module(x).shape) for name, module in modules.items()}
        assert tuple(shapes) == space.candidates[index]
        assert set(shapes.values()) == {(2, space.skeleton.blocks[index].out_channels, 8, 8)}
