"""ResNets and Wide ResNets as macro-architectures: the networks that their families are, inner widths, supernets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_space import (
    Block,
    InvalidRequest,
    SearchSpace,
    baseline,
    build,
    cost,
    from_json,
    macro,
    operators,
    parse,
    to_json,
)
from search_space.macros import MACROS
from search_space.network import make_block, orthonormal_bases, orthonormal_loss
from search_space.network_cost import block_cost
from search_space.sliced import Sliced
from search_space.space import SepConvSpace

RESIDUAL = [name for name in MACROS if name.startswith(("resnet-", "wrn-"))]
PAIRS = [name for name, operator in operators.items() if operator.has_inner]


def tiny(operator: str = "res_k3", **stem: Any) -> dict[str, Any]:
    """A ResNet of three blocks, the second of which changes the shape; with activations in front for ``preres_k3``."""
    before = operator.startswith("preres")
    return {
        "name": "tiny",
        "stem": {"channels": 8, "stride": 1, "activation": "none" if before else "relu", "bare": before, **stem},
        "stages": [
            {"operator": operator, "out_channels": 8},
            {"operator": operator, "out_channels": 16, "repeats": 2, "stride": 2},
        ],
        "head": {"activation": "relu", "norm_first": before},
    }


def space(operator: str = "res_k3", **options: Any) -> SearchSpace:
    wanted: dict[str, Any] = {"macro": tiny(operator), "widths": [0.5, 1.0, 1.5], "image_size": 8, "classes": 4}
    return SearchSpace.create(**{**wanted, **options})


def random_sample(space: SearchSpace, seed: int) -> dict[str, str]:
    generator = np.random.default_rng(seed)
    return space.cost_table.sample(np.array([generator.integers(len(names)) for names in space.candidates]))


@pytest.mark.parametrize("name", RESIDUAL)
def test_a_macro_is_the_network_of_its_family(name: str) -> None:
    assert cost(macro(name)) == cost(baseline(name))


@pytest.mark.parametrize("name", ["resnet-8", "wrn-10-1"])
def test_a_macro_computes_what_the_network_of_its_family_computes(name: str) -> None:
    ours = build(macro(name, image_size=12)).eval()
    theirs = build(baseline(name, image_size=12)).eval()
    for tensor in theirs.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 0.3)
    tensors = zip(ours.state_dict(), theirs.state_dict().values(), strict=True)
    ours.load_state_dict(dict(tensors))  # layers stand in the same order in both
    x = torch.randn(2, 3, 12, 12)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(("inner", "stride"), [(0, 2), (4, 1), (12, 2)])
@pytest.mark.parametrize("name", PAIRS)
def test_inner_widths_are_counted_written_and_built(name: str, inner: int, stride: int) -> None:
    block = Block(name, 8, 8, stride, expanded_channels=inner, residual=stride == 1)
    with torch.device("meta"):
        module = make_block(block, 6, (), orthonormal=False)
        assert module(torch.empty(2, 8, 6, 6)).shape == (2, 8, 6 // stride, 6 // stride)
    assert block_cost(block, 6).params == sum(p.numel() for p in module.parameters())
    widths = {layer.out_channels for layer in module.modules() if isinstance(layer, nn.Conv2d)}
    assert (inner or 8) in widths
    network = replace(macro("resnet-20", width=0.5), blocks=(replace(block, residual=False),), classes=3)
    assert parse(str(network)) == network
    assert from_json(to_json(network)) == network


def test_other_whole_block_operators_still_have_no_width() -> None:
    with pytest.raises(InvalidRequest, match=r"^b: sep_k3 replaces the whole block, so expanded_channels and se_"):
        Block("sep_k3", 8, 8, expanded_channels=4).check("b")
    with pytest.raises(InvalidRequest, match=r"^b: res_k3 replaces the whole block, so expanded_channels and se_"):
        Block("res_k3", 8, 8, se_channels=4).check("b")


def test_a_bare_stem_has_no_activation() -> None:
    with pytest.raises(InvalidRequest, match=r"stem\.activation: 'relu' is impossible in a bare stem, which has none"):
        space(macro=tiny("preres_k3", activation="relu"))
    network = macro("wrn-16-4")
    with pytest.raises(InvalidRequest, match=r"^stem\.activation: 'relu' is impossible in a bare stem"):
        replace(network, stem=replace(network.stem, activation="relu"))


def test_the_candidates_of_a_block_are_the_papers_operators_in_all_widths() -> None:
    names = space().candidates
    forms = ("k3", "bsconv_u_k3", "bsconv_s_p4_k3", "sep_k3", "c2sp")
    assert names[1] == tuple(f"res_{form}{width}" for form in forms for width in ("-e8", "", "-e24"))
    # half of 8 channels would be 8 again; skip is possible where the shape is kept
    assert names[0] == (*(f"res_{form}{width}" for form in forms for width in ("", "-e16")), "skip")
    assert {name.partition("_")[0] for name in space("preres_k3").candidates[1]} == {"preres"}
    mixed = space(operators=["res_k3", "dw_k3", "sep_k3"], widths=[0.5])
    assert mixed.candidates[1] == ("res_k3-e8", "dw_k3-e8", "sep_k3")


@pytest.mark.parametrize("operator", ["res_k3", "preres_k3"])
def test_costs_in_the_table_are_those_of_the_networks(operator: str) -> None:
    own = space(operator)
    for seed in range(10):
        sample = random_sample(own, seed)
        network = own.architecture(sample)
        assert own.sample(network) == sample
        assert own.cost_table.cost(sample) == {"macs": cost(network).macs, "params": cost(network).params}


@pytest.mark.parametrize("operator", ["res_k3", "preres_k3"])
def test_a_frozen_network_computes_what_its_path_through_the_supernet_does(operator: str) -> None:
    torch.manual_seed(0)
    supernet = SepConvSpace(space(operator))
    for tensor in supernet.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.05, 0.2)
    supernet.eval()
    x = torch.rand(2, 3, 8, 8)
    for seed in range(6):
        sample = random_sample(supernet.search_space, seed)
        y: Tensor = supernet.stem(x)
        for block, label in zip(supernet.blocks, supernet.search_space.labels, strict=True):
            y = block[sample[label]](y)
        torch.testing.assert_close(supernet.freeze(sample)(x), supernet.head(y))


def test_widths_share_the_weights_of_the_widest() -> None:
    supernet = SepConvSpace(space())
    candidates: Any = supernet.blocks[1]
    wide, narrow = candidates["res_bsconv_u_k3-e24"], candidates["res_bsconv_u_k3-e8"]
    assert isinstance(narrow.body, Sliced)
    assert narrow.body.wide is wide.body
    assert isinstance(candidates["res_bsconv_u_k3"].body, Sliced)  # designed: 16 inner channels
    assert not list(narrow.parameters())


@pytest.mark.parametrize("operator", ["res_k3", "preres_k3"])
def test_residual_branches_of_a_supernet_start_at_zero_and_can_leave_it(operator: str) -> None:
    torch.manual_seed(0)
    supernet = SepConvSpace(space(operator))
    last: Any = supernet.blocks[2]
    x = torch.randn(2, 16, 4, 4).relu()
    for name in supernet.search_space.candidates[2]:
        torch.testing.assert_close(last[name](x), x)
    last[f"{operator}-e24"](x).square().sum().backward()
    gradients = [p.grad for p in last[f"{operator}-e24"].body.parameters() if p.grad is not None]
    assert any(g.any() for g in gradients)


def test_bases_of_a_supernet_are_those_that_have_weights() -> None:
    supernet = SepConvSpace(space())
    bases = orthonormal_bases(supernet)
    assert len(bases) == 6  # two convolutions in the widest candidate of each of three blocks
    assert orthonormal_loss(bases).isfinite()
