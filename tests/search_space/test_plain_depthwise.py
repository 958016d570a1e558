"""Plain depthwise convolutions in place of other operators, at the same cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from search_space import baseline, build, cost, operators
from search_space.plain_depthwise import PLAIN, is_plain, plain_operator, with_plain_depthwise


def test_plain_are_the_depthwise_convolutions_of_mobilenets() -> None:
    assert PLAIN == {3: "dw_k3", 5: "dw_k5", 7: "dw_k7"}


@pytest.mark.parametrize(
    ("operator", "plain"),
    [
        ("xsep_k5", "dw_k5"),
        ("xsep_no2x2_k7", "dw_k7"),
        ("c2sp", "dw_k3"),
        ("c4sp", "dw_k5"),
        ("c4sp_conv", "dw_k5"),
        ("group_k5_w8", "dw_k5"),
        ("mix_k357", "dw_k5"),
        ("inception_re_k3", "dw_k3"),
        ("dw_linear_k7", "dw_k7"),
    ],
)
def test_the_nearest_kernel_is_taken(operator: str, plain: str) -> None:
    assert plain_operator(operators[operator]) == plain


@pytest.mark.parametrize("name", operators)
@pytest.mark.parametrize("metric", ["macs", "params"])
def test_every_operator_is_swapped_at_equal_cost(name: str, metric: str) -> None:
    network = baseline("mobilenetv3-small", image_size=32)
    # a block with a residual, one of stride 2, and one that changes the channels
    swapped = [3, 2, 7]
    blocks = list(network.blocks)
    for index in swapped:
        changes = {"operator": name, "expanded_channels": 96, "se_channels": 24}
        if operators[name].scope == "block":
            changes |= {"expanded_channels": 0, "se_channels": 0}
        blocks[index] = replace(blocks[index], **changes)  # type: ignore[arg-type]
    network = replace(network, blocks=tuple(blocks))
    plain = with_plain_depthwise(network, swapped, metric)
    before, after = (getattr(cost(each), metric) for each in (network, plain))
    assert abs(after / before - 1) < 0.01
    for index, (old, new) in enumerate(zip(network.blocks, plain.blocks, strict=True)):
        if index in swapped:
            assert is_plain(new)
            kept = ("in_channels", "out_channels", "stride", "activation", "se_channels", "residual")
            assert [getattr(old, field) for field in kept] == [getattr(new, field) for field in kept]
        else:
            assert new == old
    if metric == "macs":
        assert build(plain)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_the_nearest_width_is_found_around_the_one_without_an_expansion() -> None:
    network = baseline("mobilenetv3-small", image_size=32)
    block = network.blocks[0]
    for width in (*range(1, 40), block.in_channels):
        wide = replace(network, blocks=(replace(block, operator="dw_k3", expanded_channels=width), *network.blocks[1:]))
        assert with_plain_depthwise(wide, [0]) == wide
