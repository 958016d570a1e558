"""A supernet starts where its candidates are nearly one function."""

from __future__ import annotations

import torch
from nni.nas.nn.pytorch import LayerChoice

from search_space import SearchSpace, operators
from search_space.layers import ACTIVATIONS
from search_space.options import DEFAULT_WIDTHS
from search_space.space import SepConvSpace


def space(*widths: float) -> SepConvSpace:
    torch.manual_seed(0)
    return SepConvSpace(SearchSpace.create(image_size=16, width=0.5, widths=widths or DEFAULT_WIDTHS)).train()


def test_every_residual_candidate_starts_as_the_identity() -> None:
    supernet = space()
    checked = 0
    for index, choice in enumerate(supernet.blocks):
        block = supernet.search_space.skeleton.blocks[index]
        if not block.residual:
            continue
        x = torch.randn(2, block.in_channels, 8, 8)
        assert isinstance(choice, LayerChoice)
        for name in choice.names:
            after_sum = name != "skip" and operators[name.split("-")[0]].activation_after_residual
            expected = ACTIVATIONS[block.activation]()(x) if after_sum else x
            assert torch.equal(choice[name](x), expected), f"block {index}, {name}"
            checked += 1
    assert checked > 100


def test_kernels_of_all_sizes_start_as_nearly_the_same_function() -> None:
    supernet = space()
    (index,) = [i for i, block in enumerate(supernet.search_space.skeleton.blocks) if block.stride == 2][:1]
    choice = supernet.blocks[index]
    x = torch.randn(4, supernet.search_space.skeleton.blocks[index].in_channels, 16, 16)
    outputs = {name: choice[name](x).flatten() for name in ("dw_k3", "dw_k5", "dw_k7", "mix_k357")}  # type: ignore[index]
    for name, output in outputs.items():
        assert torch.cosine_similarity(output, outputs["dw_k3"], dim=0) > 0.95, name


def test_kernels_start_with_noise_and_gradients_reach_them() -> None:
    supernet = space(1.0)
    x = torch.randn(4, 3, 16, 16)
    for choice in supernet.blocks:
        x = choice["dw_k3"](supernet.stem(x) if x.shape[1] == 3 else x)  # type: ignore[index]
    supernet.head(x).square().sum().backward()
    weight = supernet.blocks[1]["dw_k3"].spatial.conv.weight  # type: ignore[index]
    assert weight.grad is not None
    assert weight.grad.abs().max() > 0
    assert weight.std(0).max() > 0, "all channels have the same kernel"
