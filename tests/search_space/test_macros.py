"""Macro-architectures as values: resolutions, widths, stages, and what a definition refuses."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from itertools import accumulate
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from search_space import Architecture, InvalidRequest, baseline, build, cost, from_json, macro, parse, to_json, to_text
from search_space.macro_definition import MacroDefinition, MacroHead, MacroStem, Stage, scaled
from search_space.macros import MACROS, built_in_macro

MOBILE = [name for name in MACROS if name.startswith("mobilenet")]
#: the deeper ones have more of the same
RESIDUAL = ("resnet-20", "wrn-16-4")


@pytest.mark.parametrize("width", [0.5, 1.0])
@pytest.mark.parametrize("image_size", [32, 56, 224])
@pytest.mark.parametrize("name", [*MOBILE, *RESIDUAL])
def test_closed_form_is_what_torch_counts_on_the_built_network(name: str, image_size: int, width: float) -> None:
    architecture = macro(name, image_size=image_size, classes=7, width=width)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:  # shapes without arithmetic
        network = build(architecture).eval()
        assert network(torch.empty(1, 3, image_size, image_size)).shape == (1, 7)
    assert cost(architecture).macs * 2 == counter.get_total_flops()
    assert cost(architecture).params == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", MACROS)
def test_written_forms_round_trip(name: str) -> None:
    architecture = macro(name, width=0.5)
    assert parse(to_text(architecture)) == architecture
    assert from_json(to_json(architecture)) == architecture


@pytest.mark.parametrize("name", MOBILE)
def test_the_plain_baseline_is_the_macro(name: str) -> None:
    assert baseline(name, image_size=64, width=0.75) == macro(name, image_size=64, width=0.75)


def down_samplings(architecture: Architecture) -> list[int]:
    """Positions with stride 2; the stem is 0."""
    strides = [architecture.stem.stride, *(block.stride for block in architecture.blocks)]
    return [index for index, stride in enumerate(strides) if stride == 2]


@pytest.mark.parametrize("name", MOBILE)
def test_small_inputs_lose_the_first_two_down_samplings_and_end_in_a_4x4_map(name: str) -> None:
    # BSConv section 5.1
    full, small = macro(name, image_size=224), macro(name, image_size=32)
    assert (full.final_size, small.final_size) == (7, 4)
    assert len(down_samplings(full)) == 5
    assert down_samplings(small) == down_samplings(full)[2:]
    assert down_samplings(macro(name, image_size=127)) == down_samplings(small)
    assert down_samplings(macro(name, image_size=128)) == down_samplings(full)


@pytest.mark.parametrize(
    ("name", "width", "stem", "out", "head", "features"),
    [
        ("mobilenetv2", 0.5, 16, [8, 16, 16, 32, 48, 80, 160], 1280, 0),
        ("mobilenetv2", 0.35, 16, [8, 8, 16, 24, 32, 56, 112], 1280, 0),
        ("mobilenetv2", 1.4, 48, [24, 32, 48, 88, 136, 224, 448], 1792, 0),
        ("mobilenetv1", 0.25, 8, [16, 32, 64, 128, 256], 0, 0),
        ("mobilenetv3-large", 0.75, 16, [16, 24, 32, 64, 88, 120], 720, 960),
    ],
)
def test_widths_follow_the_rule_of_each_family(
    name: str, width: float, stem: int, out: list[int], head: int, features: int
) -> None:
    own = macro(name, width=width)
    firsts = list(accumulate((stage.repeats for stage in built_in_macro(name).stages[:-1]), initial=0))
    assert own.stem.channels == stem
    assert [own.blocks[index].out_channels for index in firsts] == out
    assert (own.head.channels, own.head.features) == (head, features)


def test_expansion_ratios_are_taken_of_the_scaled_channels() -> None:
    own = macro("mobilenetv2", width=0.5)
    assert [block.expanded_channels for block in own.blocks] == [
        block.in_channels * (1 if index == 0 else 6) for index, block in enumerate(own.blocks)
    ]


def test_blocks_of_mobilenetv1_have_an_activation_behind_both_convolutions_and_no_residual() -> None:
    own = macro("mobilenetv1")
    assert len(own.blocks) == 13
    for block in own.blocks:
        assert (block.has_expand, block.residual, block.activation, block.project_activation) == (
            False,
            False,
            "relu",
            "relu",
        )


def test_torchvisions_form_differs_by_biases_only() -> None:
    for size in ("small", "large"):
        paper, torchvision = macro(f"mobilenetv3-{size}"), macro(f"mobilenetv3-{size}-torchvision")
        assert [replace(block, se_bias=False) for block in torchvision.blocks] == list(paper.blocks)
        assert replace(torchvision.head, features_bias=False) == paper.head
        assert torchvision.head.features_bias
        assert all(block.se_bias == (block.se_channels > 0) for block in torchvision.blocks)


OWN = MacroDefinition(
    "own",
    MacroStem(20, 1, activation="relu"),
    (
        Stage("xsep_k5", 20, repeats=2, expansion=2.5, se_ratio=0.25, se_bias=True),
        Stage("sep_k3", 36, stride=2, low_resolution_stride=1),
        Stage("dw_k3", 36, repeats=2, stride=2, expanded_channels=(50, 70), residual=False, project_activation="elu"),
    ),
    MacroHead(channels=100, shrinks=False, activation="relu"),
)


def test_a_definition_becomes_the_network_it_says() -> None:
    assert to_text(macro(OWN, image_size=16, in_channels=1, classes=4)) == (
        "own 1x16x16 4 | stem c20 s1 relu | xsep_k5 e50 c20 s1 relu se16 sebias res"
        " | xsep_k5 e50 c20 s1 relu se16 sebias res | sep_k3 c36 s1 relu | dw_k3 e50 c36 s2 relu out-elu"
        " | dw_k3 e70 c36 s1 relu out-elu | head c100 relu"
    )


def test_a_definition_has_its_full_strides_for_large_inputs() -> None:
    assert [block.stride for block in OWN.architecture(image_size=128).blocks] == [1, 1, 2, 2, 1]


def test_channels_are_multiples_of_eight_except_at_width_1() -> None:
    own = OWN.architecture(width=0.5)
    assert (own.stem.channels, own.blocks[2].out_channels, own.head.channels) == (16, 24, 100)
    assert OWN.architecture(width=2).head.channels == 200
    assert (scaled(20, 1.0), scaled(20, 1), scaled(20, 0.9)) == (20, 20, 24)


def test_definitions_are_values() -> None:
    again = replace(OWN, stages=tuple(replace(stage) for stage in OWN.stages))
    assert {OWN: "found"}[again] == "found"
    with pytest.raises(dataclasses.FrozenInstanceError):
        OWN.name = "other"  # type: ignore[misc]


def test_an_operator_that_does_not_fit_is_refused_with_its_stage_and_channels() -> None:
    grouped = replace(OWN, stages=(Stage("dw_k3", 20, expansion=1), Stage("group_k3_w16", 24, expanded_channels=(40,))))
    message = r"^macro own: stages\[1\]\.operator: group_k3_w16 does not fit, as 40 channels are not divisible by"
    with pytest.raises(InvalidRequest, match=message):
        grouped.architecture()
    assert grouped.architecture(width=2).blocks[1].expanded_channels == 80


DW = Stage("dw_k3", 24, expansion=6)
IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name: '' must be a name of letters, digits, '-', '_' and '.'"),
    ({"name": "a b"}, "name: 'a b' must be a name of letters, digits, '-', '_' and '.'"),
    ({"name": 3}, "name: 3 must be a name of letters"),
    ({"stages": ()}, "stages: empty; a macro needs at least one stage"),
    ({"stages": [DW]}, "stages: list must be a tuple"),
    ({"stem": MacroStem(0)}, "stem.channels: 0 must be a whole number of at least 1"),
    ({"stem": MacroStem(16, 3)}, "stem.stride: 3 must be 1 or 2"),
    ({"stem": MacroStem(16, 2, 4)}, "stem.low_resolution_stride: 4 must be 1 or 2"),
    ({"stem": MacroStem(16, activation="gelu")}, "stem.activation: 'gelu' is unknown; known are relu, "),
    ({"head": MacroHead(channels=-1)}, "head.channels: -1 must be a whole number of at least 0"),
    ({"head": MacroHead(expansion=1.5)}, "head.expansion: 1.5 must be a whole number of at least 0"),  # type: ignore[arg-type]
    (
        {"head": MacroHead(channels=100, expansion=6)},
        "head.expansion: 6 beside channels 100; both say how wide the 1x1 convolution is, give one of the two",
    ),
    ({"head": MacroHead(features_bias=True)}, "head.features_bias: True without a hidden layer; give features"),
    (
        {"head": MacroHead(expansion=6, shrinks=False)},
        "head.shrinks: False, but there are no channels and features to keep; leave it out",
    ),
    ({"head": MacroHead(features=8, shrinks="no")}, "head.shrinks: 'no' must be true or false"),  # type: ignore[arg-type]
    ({"head": MacroHead(activation="none!")}, "head.activation: 'none!' is unknown; known are relu, "),
]


@pytest.mark.parametrize(("change", "message"), IMPOSSIBLE)
def test_impossible_definitions_are_refused_by_field_value_and_remedy(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        replace(OWN, **change)
    assert str(caught.value).startswith(message)


IMPOSSIBLE_STAGES: list[tuple[dict[str, Any], str]] = [
    ({"operator": "dw_k4"}, "stages[1].operator: 'dw_k4' is unknown; known are "),
    ({"operator": "skip"}, "stages[1].operator: 'skip' is unknown; known are "),
    ({"operator": 3}, "stages[1].operator: 3 is unknown; known are "),
    ({"out_channels": 0}, "stages[1].out_channels: 0 must be a whole number of at least 1"),
    ({"out_channels": 24.0}, "stages[1].out_channels: 24.0 must be a whole number of at least 1"),
    ({"repeats": 0}, "stages[1].repeats: 0 must be a whole number of at least 1"),
    ({"repeats": True}, "stages[1].repeats: True must be a whole number of at least 1"),
    ({"stride": 3}, "stages[1].stride: 3 must be 1 or 2"),
    ({"low_resolution_stride": 0}, "stages[1].low_resolution_stride: 0 must be 1 or 2"),
    ({"expansion": 0}, "stages[1].expansion: 0 must be a number above 0 and at most 64"),
    ({"expansion": -1}, "stages[1].expansion: -1 must be a number above 0 and at most 64"),
    ({"expansion": float("nan")}, "stages[1].expansion: nan must be a number above 0 and at most 64"),
    ({"expansion": float("inf")}, "stages[1].expansion: inf must be a number above 0 and at most 64"),
    ({"expansion": "6"}, "stages[1].expansion: '6' must be a number above 0 and at most 64"),
    (
        {"expansion": None},
        "stages[1]: neither of expansion and expanded_channels given, but the inverted residuals around dw_k3 need one"
        " of the two",
    ),
    (
        {"expanded_channels": (72,)},
        "stages[1]: both of expansion and expanded_channels given, but the inverted residuals around dw_k3 need one"
        " of the two",
    ),
    (
        {"expansion": None, "expanded_channels": 72},
        "stages[1].expanded_channels: 72 must be a list of whole numbers, one per block",
    ),
    (
        {"expansion": None, "expanded_channels": (72, 88)},
        "stages[1].expanded_channels: 2 numbers for 1 block(s); give one per block, as many as repeats says",
    ),
    (
        {"expansion": None, "expanded_channels": (0,)},
        "stages[1].expanded_channels[0]: 0 must be a whole number of at least 1",
    ),
    ({"activation": None}, "stages[1].activation: None is unknown; known are relu, "),
    ({"project_activation": "swish"}, "stages[1].project_activation: 'swish' is unknown; known are relu, "),
    ({"se_ratio": 1.5}, "stages[1].se_ratio: 1.5 must be a number from 0 to 1"),
    ({"se_ratio": True}, "stages[1].se_ratio: True must be a number from 0 to 1"),
    ({"se_bias": True}, "stages[1].se_bias: True without squeeze-and-excitation; give se_ratio, 0.25 say"),
    ({"residual": 1}, "stages[1].residual: 1 must be true or false"),
    (
        {"operator": "sep_k3"},
        "stages[1].expansion: 6 is not possible, as sep_k3 replaces the whole block; leave it out",
    ),
    (
        {"operator": "sep_k3", "expansion": None, "expanded_channels": (72,)},
        "stages[1].expanded_channels: [72] is not possible, as sep_k3 replaces the whole block; leave it out",
    ),
    (
        {"operator": "sep_k3", "expansion": None, "se_ratio": 0.25},
        "stages[1].se_ratio: 0.25 is not possible, as sep_k3 replaces the whole block; leave it out",
    ),
    (
        {"operator": "sep_k3", "expansion": None, "project_activation": "relu"},
        "stages[1].project_activation: 'relu' is not possible, as sep_k3 replaces the whole block; leave it out",
    ),
]


@pytest.mark.parametrize(("change", "message"), IMPOSSIBLE_STAGES)
def test_impossible_stages_are_refused_by_place_value_and_remedy(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        replace(OWN, stages=(OWN.stages[0], replace(DW, **change)))
    assert str(caught.value).startswith(message)
