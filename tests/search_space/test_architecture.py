"""The architecture as a value: immutable, hashable, and impossible to make wrong without being told what is wrong."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch

from search_space import Architecture, Block, Head, InvalidRequest, Stem, build

EXPAND = Block("dw_k3", 8, 8, expanded_channels=16, se_channels=4, residual=True)
SHRINK = Block("sep_k3", 8, 12, stride=2)
VALID = Architecture("m", 9, 3, 10, Stem(8, 2), (EXPAND, Block("skip", 8, 8), SHRINK), Head(24, 32))


@pytest.mark.parametrize(
    "value", [VALID, EXPAND, VALID.stem, VALID.head], ids=["architecture", "block", "stem", "head"]
)
def test_values_cannot_be_changed(value: Any) -> None:
    field = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, getattr(value, field))


def test_equal_architectures_are_one_key() -> None:
    again = Architecture("m", 9, 3, 10, Stem(8, 2), (replace(EXPAND), Block("skip", 8, 8), SHRINK), Head(24, 32))
    assert again is not VALID
    assert {VALID: "found"}[again] == "found"


@pytest.mark.parametrize(
    "change",
    [
        {"macro": "n"},
        {"image_size": 10},
        {"in_channels": 1},
        {"classes": 11},
        {"stem": Stem(8, 1)},
        {"blocks": (EXPAND, SHRINK)},
        {"head": Head(24, 0)},
        {"orthonormal": True},
    ],
)
def test_every_field_tells_architectures_apart(change: dict[str, Any]) -> None:
    assert replace(VALID, **change) != VALID


def test_maps_shrink_along_the_blocks() -> None:
    assert [size for _, size in VALID.sized_blocks()] == [5, 5, 5]
    assert VALID.final_size == 3


def test_expansion_is_left_out_where_the_widths_are_equal() -> None:
    equal = replace(EXPAND, expanded_channels=8)
    assert EXPAND.has_expand
    assert not equal.has_expand
    names = dict(build(replace(VALID, blocks=(equal, SHRINK))).named_parameters())
    assert not [name for name in names if name.startswith("blocks.0.expand")]


def test_an_activation_behind_the_projection_comes_before_the_sum() -> None:
    torch.manual_seed(0)
    linear = build(replace(VALID, blocks=(EXPAND, SHRINK))).eval()
    active = build(replace(VALID, blocks=(replace(EXPAND, project_activation="relu"), SHRINK))).eval()
    active.load_state_dict(linear.state_dict())  # an activation has no weights and renames nothing
    x = torch.randn(2, 8, 5, 5)
    projected = linear.blocks[0](x) - x
    assert projected.min() < -0.01
    torch.testing.assert_close(active.blocks[0](x), x + projected.clamp(min=0))


def test_operators_are_exchanged_by_position() -> None:
    changed = VALID.with_operators({0: "xsep_k5"})
    assert changed.blocks == (replace(EXPAND, operator="xsep_k5"), *VALID.blocks[1:])
    assert VALID.blocks[0].operator == "dw_k3"


IMPOSSIBLE_ARCHITECTURES = [
    ({"macro": ""}, "macro: '' must be a name of letters, digits, '-', '_' and '.'"),
    ({"macro": "a b"}, "macro: 'a b' must be a name of letters, digits, '-', '_' and '.'"),
    ({"macro": "a|b"}, "macro: 'a|b' must be a name of letters, digits, '-', '_' and '.'"),
    ({"macro": "é"}, "macro: 'é' must be a name of letters, digits, '-', '_' and '.'"),
    ({"image_size": 0}, "image_size: 0 must be a whole number of at least 1"),
    ({"image_size": 9.0}, "image_size: 9.0 must be a whole number of at least 1"),
    ({"image_size": True}, "image_size: True must be a whole number of at least 1"),
    ({"in_channels": 0}, "in_channels: 0 must be a whole number of at least 1"),
    ({"classes": 1}, "classes: 1 must be a whole number of at least 2"),
    ({"classes": "10"}, "classes: '10' must be a whole number of at least 2"),
    ({"stem": Stem(0, 2)}, "stem.channels: 0 must be a whole number of at least 1"),
    ({"stem": Stem(8, 3)}, "stem.stride: 3 must be 1 or 2"),
    ({"stem": Stem(8, True)}, "stem.stride: True must be 1 or 2"),
    (
        {"stem": Stem(8, 2, "gelu")},
        "stem.activation: 'gelu' is unknown; known are relu, relu6, hardswish, elu, none; did you mean elu?",
    ),
    ({"head": Head(-1, 0)}, "head.channels: -1 must be a whole number of at least 0"),
    ({"head": Head(0, -1)}, "head.features: -1 must be a whole number of at least 0"),
    (
        {"head": Head(0, 0, "Relu")},
        "head.activation: 'Relu' is unknown; known are relu, relu6, hardswish, elu, none; did you mean elu?",
    ),
    ({"blocks": ()}, "blocks: empty; an architecture needs at least one block"),
    ({"blocks": [EXPAND]}, "blocks: list must be a tuple"),
    (
        {"blocks": (SHRINK, Block("dw_k3", 8, 8, expanded_channels=8))},
        "blocks[1].in_channels: 8 does not follow the 12 channels in front of it",
    ),
    (
        {"stem": Stem(6, 1)},
        "blocks[0].in_channels: 8 does not follow the 6 channels in front of it",
    ),
]


@pytest.mark.parametrize(("change", "message"), IMPOSSIBLE_ARCHITECTURES)
def test_impossible_architectures_are_refused_by_field_value_and_reason(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        replace(VALID, **change)
    assert str(caught.value) == message


IMPOSSIBLE_BLOCKS = [
    (Block("dw_k3", 0, 8, expanded_channels=8), "blocks[0].in_channels: 0 must be a whole number of at least 1"),
    (Block("dw_k3", 8, True, expanded_channels=8), "blocks[0].out_channels: True must be a whole number of at least 1"),
    (
        Block("dw_k3", 8, 8, expanded_channels=-8),
        "blocks[0].expanded_channels: -8 must be a whole number of at least 0",
    ),
    (
        Block("dw_k3", 8, 8, expanded_channels=8, se_channels=2.5),  # type: ignore[arg-type]
        "blocks[0].se_channels: 2.5 must be a whole number of at least 0",
    ),
    (Block("dw_k3", 8, 8, 0, 8), "blocks[0].stride: 0 must be 1 or 2"),
    (Block("dw_k3", 8, 8, True, 8), "blocks[0].stride: True must be 1 or 2"),
    (Block("dw_k3", 8, 8, 1.0, 8), "blocks[0].stride: 1.0 must be 1 or 2"),  # type: ignore[arg-type]
    (
        Block("dw_k3", 8, 8, expanded_channels=8, activation="tanh"),
        "blocks[0].activation: 'tanh' is unknown; known are relu, relu6, hardswish, elu, none",
    ),
    (
        Block("dw_k3", 8, 8, 2, 8, residual=True),
        "blocks[0].residual: impossible, as 8 channels at stride 2 become 8;"
        " a residual needs stride 1 and equal channels",
    ),
    (
        Block("sep_k3", 8, 9, residual=True),
        "blocks[0].residual: impossible, as 8 channels at stride 1 become 9;"
        " a residual needs stride 1 and equal channels",
    ),
    (
        Block("skip", 8, 8, stride=2),
        "blocks[0].operator: skip is impossible, as 8 channels at stride 2 become 8;"
        " it needs stride 1 and equal channels",
    ),
    (
        Block("skip", 8, 9),
        "blocks[0].operator: skip is impossible, as 8 channels at stride 1 become 9;"
        " it needs stride 1 and equal channels",
    ),
    *(
        (
            replace(Block("skip", 8, 8), **layers),
            "blocks[0]: skip has no layers, so expanded_channels, se_channels, se_bias and residual must go",
        )
        for layers in ({"expanded_channels": 8}, {"se_channels": 2}, {"se_bias": True}, {"residual": True})
    ),
    (
        Block("dw_k3", 8, 8),
        "blocks[0].expanded_channels: 0, but dw_k3 is a spatial operator and needs at least 1",
    ),
    (
        Block("sep_k3", 8, 8, expanded_channels=16),
        "blocks[0]: sep_k3 replaces the whole block, so expanded_channels and se_channels must be 0, not 16 and 0",
    ),
    (
        Block("bsconv_u_k3", 8, 8, se_channels=4),
        "blocks[0]: bsconv_u_k3 replaces the whole block, so expanded_channels and se_channels must be 0, not 0 and 4",
    ),
    (
        Block("dw_k3", 8, 8, expanded_channels=8, project_activation="tanh"),
        "blocks[0].project_activation: 'tanh' is unknown; known are relu, relu6, hardswish, elu, none",
    ),
    (
        Block("dw_k3", 8, 8, expanded_channels=8, project_activation=1),  # type: ignore[arg-type]
        "blocks[0].project_activation: 1 is unknown; known are relu, relu6, hardswish, elu, none",
    ),
    (
        Block("bsconv_u_k3", 8, 8, project_activation="relu"),
        "blocks[0].project_activation: 'relu', but bsconv_u_k3 replaces the whole block and has no projection;"
        " it must be 'none'",
    ),
    (
        Block("skip", 8, 8, project_activation="elu"),
        "blocks[0].project_activation: 'elu', but skip has no projection; it must be 'none'",
    ),
    (
        Block("group_k3_w4", 8, 8, expanded_channels=18),
        "blocks[0].operator: group_k3_w4 does not fit, as 18 channels are not divisible by the group width 4",
    ),
    (
        Block("mix_k357", 8, 8, expanded_channels=2),
        "blocks[0].operator: mix_k357 does not fit, as 2 channels cannot be split in 3 segments",
    ),
]


@pytest.mark.parametrize(("block", "message"), IMPOSSIBLE_BLOCKS)
def test_impossible_blocks_are_refused_by_position_field_value_and_reason(block: Block, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        replace(VALID, blocks=(block,))
    assert str(caught.value) == message


def test_unknown_operators_are_refused_with_the_known_ones() -> None:
    with pytest.raises(
        InvalidRequest,
        match=r"^blocks\[1\]\.operator: 'dw_k9' is unknown; known are .*dw_k3.* and .* more .*did you mean dw_k",
    ):
        replace(VALID, blocks=(EXPAND, replace(EXPAND, operator="dw_k9")))


def test_a_request_error_is_a_value_error_of_one_line() -> None:
    with pytest.raises(ValueError, match="classes") as caught:
        replace(VALID, classes=0)
    assert isinstance(caught.value, InvalidRequest)
    assert "\n" not in str(caught.value)


def test_skip_is_no_operator_with_a_definition() -> None:
    with pytest.raises(InvalidRequest, match=r"^operator: 'skip' is unknown; known are "):
        _ = Block("skip", 8, 8).definition


def test_an_architecture_means_the_same_in_another_process() -> None:
    code = "from search_space import parse; import sys; print(parse(sys.argv[1]), end='')"
    own = str(VALID)
    other = subprocess.run([sys.executable, "-c", code, own], capture_output=True, text=True, check=True)
    assert other.stdout == own
