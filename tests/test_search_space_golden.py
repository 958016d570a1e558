"""Costs of the baselines against the figures that the papers print."""

from __future__ import annotations

import json
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from search_space import InvalidRequest, baseline, baselines, build, cost, macro
from search_space.macros import divisible

GOLDEN = json.loads((Path(__file__).parent / "golden" / "reference_figures.json").read_text(encoding="utf-8"))
FIGURES: list[dict[str, Any]] = GOLDEN["figures"]


def millions(value: int, rounding: str) -> str:
    return str((Decimal(value) / 10**6).quantize(Decimal("0.01"), rounding=rounding))


def name_of(figure: dict[str, Any]) -> str:
    return f"{figure['baseline']}-{figure['image_size']}-{figure['classes']}"


@pytest.mark.parametrize("figure", FIGURES, ids=name_of)
def test_costs_are_the_published_ones(figure: dict[str, Any]) -> None:
    own = cost(baseline(figure["baseline"], image_size=figure["image_size"], classes=figure["classes"]))
    assert millions(own.macs, ROUND_HALF_UP) == figure["macs_m"], figure["source"]
    assert millions(own.params, ROUND_DOWN) == figure["params_m"], figure["source"]


def test_every_baseline_has_a_published_figure_for_each_task() -> None:
    tasks = ((32, 10), (32, 100), (56, 200))
    expected = {(name, size, classes) for name in baselines() for size, classes in tasks}
    assert {(f["baseline"], f["image_size"], f["classes"]) for f in FIGURES} == expected


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


def test_bsconv_s_differs_only_by_its_mark() -> None:
    plain, marked = baseline("mobilenetv3-small"), baseline("mobilenetv3-small-bsconv-s")
    assert marked.orthonormal
    assert not plain.orthonormal
    assert marked.blocks == plain.blocks
    assert marked != plain


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


def test_mobilenetv3_at_224_pixels_costs_what_its_paper_says() -> None:
    # MobileNetV3 (Howard et al. 2019), table 3: 56 M multiply-adds; its squeeze widths and head differ a little
    assert round(cost(macro("mobilenetv3-small", image_size=224, classes=1000)).macs / 1e6) in range(54, 59)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet"}, "macro: 'resnet' is unknown; known are mobilenetv3-small"),
        ({"width": 0}, "width: 0 must be a multiplier above 0 and at most 16"),
        ({"width": float("nan")}, "width: nan must be a multiplier above 0 and at most 16"),
        ({"width": 17}, "width: 17 must be a multiplier above 0 and at most 16"),
        ({"image_size": 7}, "image_size: 7 must be a whole number of at least 8 pixels"),
        ({"image_size": 32.0}, "image_size: 32.0 must be a whole number of at least 8 pixels"),
        ({"classes": 1}, "classes: 1 must be a whole number of at least 2"),
        ({"in_channels": 0}, "in_channels: 0 must be a whole number of at least 1"),
    ],
)
def test_impossible_macros_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        macro(**{"name": "mobilenetv3-small", **arguments})
    assert str(caught.value) == message


def test_unknown_baseline_is_named_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match=r"^baseline: 'vgg' is unknown; known are mobilenetv3-small, "):
        baseline("vgg")
