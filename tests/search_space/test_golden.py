"""Costs of the baselines and macros against the figures that papers and reference implementations give."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from search_space import InvalidRequest, baseline, baselines, build, cost, macro
from search_space.macro_definition import divisible

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "reference_figures.json").read_text(encoding="utf-8"))
FIGURES: list[dict[str, Any]] = GOLDEN["figures"]
MACRO_FIGURES: list[dict[str, Any]] = GOLDEN["macro_figures"]


def millions(value: int, rounding: str) -> str:
    return str((Decimal(value) / 10**6).quantize(Decimal("0.01"), rounding=rounding))


def name_of(figure: dict[str, Any]) -> str:
    return f"{figure['baseline']}-{figure['image_size']}-{figure['classes']}"


@pytest.mark.parametrize("figure", FIGURES, ids=name_of)
def test_costs_are_the_published_ones(figure: dict[str, Any]) -> None:
    own = cost(baseline(figure["baseline"], image_size=figure["image_size"], classes=figure["classes"]))
    assert millions(own.macs, ROUND_HALF_UP) == figure["macs_m"], figure["source"]
    assert millions(own.params, ROUND_DOWN) == figure["params_m"], figure["source"]


def test_baselines_of_the_papers_tables_have_a_figure_for_each_task() -> None:
    tasks = {(32, 10), (32, 100), (56, 200)}
    for name in {figure["baseline"] for figure in FIGURES}:
        assert {(f["image_size"], f["classes"]) for f in FIGURES if f["baseline"] == name} == tasks


def test_every_baseline_has_published_figures_or_a_reason_for_none() -> None:
    published = {figure["baseline"] for figure in FIGURES} | {figure["macro"] for figure in MACRO_FIGURES}
    assert not published & set(GOLDEN["no_figures"])
    assert published | set(GOLDEN["no_figures"]) == set(baselines())


@pytest.mark.parametrize("figure", MACRO_FIGURES, ids=lambda f: f"{f['macro']}-{f['image_size']}-{f['width']}")
def test_costs_of_macros_are_the_published_ones(figure: dict[str, Any]) -> None:
    own = cost(macro(figure["macro"], image_size=figure["image_size"], classes=1000, width=figure["width"]))
    assert own.macs == figure.get("macs", own.macs), figure["source"]
    assert own.params == figure.get("params", own.params), figure["source"]
    if "macs_m" in figure:  # pages and papers round or truncate
        assert int(own.macs / 1e6) <= figure["macs_m"] <= int(own.macs / 1e6) + 1, figure["source"]


def test_macro_figures_each_claim_something() -> None:
    assert all({"macs", "params", "macs_m"} & set(figure) for figure in MACRO_FIGURES)


def test_built_baseline_has_the_published_number_of_parameters() -> None:
    network = build(baseline("mobilenetv3-small-xsep"))
    assert millions(sum(p.numel() for p in network.parameters()), ROUND_DOWN) == "1.50"


def test_xsep_replaces_six_layers_by_position() -> None:
    # section 4.2: k = 5 in the middle stage, k = 3 behind the last down-sampling, down-sampling layers untouched
    changed = {
        index: new.operator
        for index, (old, new) in enumerate(
            zip(baseline("mobilenetv3-small").blocks, baseline("mobilenetv3-small-xsep").blocks, strict=True)
        )
        if old != new
    }
    assert changed == {4: "xsep_k5", 5: "xsep_k5", 6: "xsep_k5", 7: "xsep_k5", 9: "xsep_k3", 10: "xsep_k3"}


def exchanged(plain: str, name: str) -> dict[int, str]:
    pairs = zip(baseline(plain).blocks, baseline(name).blocks, strict=True)
    return {index: new.operator for index, (old, new) in enumerate(pairs) if old != new}


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        # the middle stage's 5x5 that keep the map's size; the last stage is not named and keeps its own
        ("mobilenetv3-small-k7", dict.fromkeys((4, 5, 6, 7), "dw_k7")),
        ("mobilenetv3-small-xsep-k7", dict.fromkeys((4, 5, 6, 7), "xsep_k7")),
        ("mobilenetv3-small-down7", {3: "dw_k7"}),
        ("mobilenetv3-small-xsep-down7", {3: "xsep_k7"}),
    ],
)
def test_xsepconvs_further_experiments_exchange_only_the_layers_they_name(name: str, changed: dict[int, str]) -> None:
    assert exchanged("mobilenetv3-small", name) == changed


def test_xsep_on_the_large_network_follows_the_same_rule() -> None:
    expected = {4: "xsep_k5", 5: "xsep_k5", 13: "xsep_k3", 14: "xsep_k3"}
    assert exchanged("mobilenetv3-large", "mobilenetv3-large-xsep") == expected


def test_costs_of_larger_kernels_differ_by_the_exchanged_layers() -> None:
    # at 32 pixels, layers 4 to 7 see 8x8 maps with 240 + 240 + 120 + 144 = 744 channels in all
    plain, large, separated = (cost(baseline(f"mobilenetv3-small{suffix}")) for suffix in ("", "-k7", "-xsep-k7"))
    assert large.macs - plain.macs == (49 - 25) * 64 * 744
    assert large.params - plain.params == (49 - 25) * 744
    assert separated.macs - plain.macs == (2 * 2 + 2 * 7 - 25) * 64 * 744
    assert separated.params - plain.params == (2 * 2 + 2 * 7 - 25 + 4) * 744  # and two batch norms more


def test_larger_kernels_save_more_than_the_papers_5x5() -> None:
    # XSepConv section 4.2: "more reductions in FLOPs as the kernel size increases from 5 to 7", on Tiny-ImageNet
    def macs(name: str) -> float:
        return cost(baseline(name, image_size=56, classes=200)).macs / 1e6

    assert macs("mobilenetv3-small-k7") - macs("mobilenetv3-small-xsep-k7") > 51.63 - 49.18


def test_costs_of_down_sampling_differ_by_the_exchanged_layer() -> None:
    # at 32 pixels, layer 3 takes a 16x16 map with 96 channels to 8x8
    plain, large, separated = (
        cost(baseline(name))
        for name in ("mobilenetv3-small", "mobilenetv3-small-down7", "mobilenetv3-small-xsep-down7")
    )
    assert large.macs - plain.macs == (49 - 25) * 64 * 96
    assert separated.macs - plain.macs == (4 * 16 * 16 + 7 * 16 * 8 + 7 * 8 * 8 - 25 * 64) * 96  # equation 4
    assert separated.macs < large.macs


@pytest.mark.parametrize("plain", ["mobilenetv3-small", "mobilenetv3-large", "mobilenetv2"])
def test_bsconv_s_differs_only_by_its_mark(plain: str) -> None:
    own, marked = baseline(plain), baseline(f"{plain}-bsconv-s")
    assert marked.orthonormal
    assert not own.orthonormal
    assert marked == replace(own, orthonormal=True)


def test_bsconv_u_reverses_every_separable_block_of_mobilenetv1() -> None:
    own, reversed_ = baseline("mobilenetv1"), baseline("mobilenetv1-bsconv-u")
    assert {block.operator for block in reversed_.blocks} == {"bsconv_u_k3"}
    assert not any(block.residual or block.expanded_channels for block in reversed_.blocks)
    for old, new in zip(own.blocks, reversed_.blocks, strict=True):
        assert (new.in_channels, new.out_channels, new.stride) == (old.in_channels, old.out_channels, old.stride)
    # the 3x3 see the output's channels, 1024 - 32 more from end to end, and the batch norm between is gone
    inputs = 32 + 64 + 2 * 128 + 2 * 256 + 6 * 512 + 1024
    assert cost(reversed_).params - cost(own).params == 9 * (1024 - 32) - 2 * inputs


@pytest.mark.parametrize(
    ("image_size", "strides"),
    [(127, [1, 1, 2, 1, 2, 1, 1, 1, 1, 2, 1, 1]), (128, [2, 2, 2, 1, 2, 1, 1, 1, 1, 2, 1, 1])],
)
def test_large_inputs_get_the_original_strides(image_size: int, strides: list[int]) -> None:
    network = macro("mobilenetv3-small", image_size=image_size)
    assert [network.stem.stride, *(block.stride for block in network.blocks)] == strides


@pytest.mark.parametrize(("width", "stem", "last"), [(0.5, 8, 48), (0.75, 16, 72), (1.0, 16, 96), (1.25, 24, 120)])
def test_widths_are_rounded_to_multiples_of_eight(width: float, stem: int, last: int) -> None:
    network = macro("mobilenetv3-small", width=width)
    assert network.stem.channels == stem
    assert network.blocks[-1].out_channels == last
    assert all(block.expanded_channels % 8 == 0 and block.out_channels % 8 == 0 for block in network.blocks)


@pytest.mark.parametrize(("value", "expected"), [(0.1, 8), (8, 8), (11, 16), (12, 16), (18, 24), (35, 32), (100, 104)])
def test_rounding_takes_the_nearest_multiple_but_never_less_than_90_percent(value: float, expected: int) -> None:
    assert divisible(value) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name_or_definition": "resnet"},
            "macro: 'resnet' is unknown; known are mobilenetv3-small, mobilenetv3-large, mobilenetv2, mobilenetv1,"
            " mobilenetv3-small-torchvision, mobilenetv3-large-torchvision and 7 more (`sepnas list macros`"
            " shows all); did you mean resnet-56?",
        ),
        ({"width": 0}, "width: 0 must be a number above 0 and at most 16"),
        ({"width": float("nan")}, "width: nan must be a number above 0 and at most 16"),
        ({"width": "1"}, "width: '1' must be a number above 0 and at most 16"),
        ({"width": True}, "width: True must be a number above 0 and at most 16"),
        ({"width": 17}, "width: 17 must be a number above 0 and at most 16"),
        ({"image_size": 7}, "image_size: 7 must be a whole number of at least 8"),
        ({"image_size": 32.0}, "image_size: 32.0 must be a whole number of at least 8"),
        ({"classes": 1}, "classes: 1 must be a whole number of at least 2"),
        ({"in_channels": 0}, "in_channels: 0 must be a whole number of at least 1"),
    ],
)
def test_impossible_macros_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        macro(**{"name_or_definition": "mobilenetv3-small", **arguments})
    assert str(caught.value) == message


def test_unknown_baseline_is_named_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match=r"^baseline: 'vgg' is unknown; known are mobilenetv3-small, "):
        baseline("vgg")
