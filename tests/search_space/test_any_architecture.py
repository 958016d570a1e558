"""What holds for every architecture: its cost equals a count on the network, its written forms round-trip."""

from __future__ import annotations

import json

import pytest
import torch
from helpers.architectures import OPERATORS, architectures
from hypothesis import given, settings
from torch import Tensor, nn

from search_space import (
    Architecture,
    Block,
    Cost,
    Head,
    Slot,
    Stem,
    build,
    cost,
    from_json,
    operators,
    parse,
    to_json,
    to_text,
)
from search_space.padding import Direction


def count(module: nn.Module, x: Tensor) -> Cost:
    """MACs of convolutions and linear layers seen while ``x`` passes, and trainable parameters."""
    macs = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        weights_a_value = layer.weight[0].numel()
        macs.append(output[0].numel() * weights_a_value)

    hooks = [m.register_forward_hook(note) for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(x) == 1
    with torch.no_grad():
        module.eval()(x)
    for hook in hooks:
        hook.remove()
    return Cost(sum(macs), sum(p.numel() for p in module.parameters() if p.requires_grad))


def count_network(architecture: Architecture) -> Cost:
    size = architecture.image_size
    with torch.device("meta"):  # shapes without arithmetic
        return count(build(architecture), torch.empty(1, architecture.in_channels, size, size))


@given(architectures())
@settings(max_examples=150)
def test_cost_is_the_count_on_the_built_network(architecture: Architecture) -> None:
    assert cost(architecture) == count_network(architecture)


@given(architectures())
@settings(max_examples=15)
def test_network_gives_one_finite_logit_a_class(architecture: Architecture) -> None:
    size = architecture.image_size
    network = build(architecture)
    logits = network(torch.randn(2, architecture.in_channels, size, size))
    assert logits.shape == (2, architecture.classes)
    assert logits.isfinite().all()
    assert network.architecture == architecture


@given(architectures())
@settings(max_examples=200)
def test_text_round_trips(architecture: Architecture) -> None:
    text = to_text(architecture)
    assert parse(text) == architecture
    assert to_text(parse(text)) == text == str(architecture)
    assert "\n" not in text


@given(architectures())
@settings(max_examples=200)
def test_json_round_trips_through_a_string(architecture: Architecture) -> None:
    again = from_json(json.loads(json.dumps(to_json(architecture))))
    assert again == architecture
    assert hash(again) == hash(architecture)


@given(architectures(), architectures())
@settings(max_examples=100)
def test_different_architectures_have_different_texts(one: Architecture, other: Architecture) -> None:
    assert (to_text(one) == to_text(other)) == (one == other)


#: in, out and expanded channels, image size: even, odd, widths that 4 does not divide, expansion left out
SLOTS = ((8, 8, 16, 8), (5, 7, 48, 7), (16, 6, 16, 6), (3, 3, 16, 1))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATORS)
def test_cost_of_every_operator_is_the_count_on_the_built_network(name: str, stride: int) -> None:
    for in_channels, out_channels, expanded, size in SLOTS:
        spatial = operators[name].scope == "spatial"
        block = Block(name, in_channels, out_channels, stride, expanded if spatial else 0)
        architecture = Architecture("m", size, 2, 3, Stem(in_channels, 1), (block,), Head(4, 0))
        assert cost(architecture) == count_network(architecture)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATORS)
def test_cost_of_every_operator_holds_on_maps_that_are_not_square(name: str, stride: int) -> None:
    operator = operators[name]
    slot = Slot(16, 16 if operator.scope == "spatial" else 9, stride, height=5, width=8, activation="relu")
    with torch.device("meta"):
        module = operator.module(slot, (Direction.LEFT_TOP,) * operator.directed_layers)
        assert operator.cost(slot) == count(module, torch.empty(1, 16, 5, 8))


H, W, C = 12, 16, 24  # divisible by all that the formulas divide by
K = (3, 5, 7)
MACS_AT_STRIDE_1 = {
    **{f"dw_k{k}": k * k * H * W * C for k in K},
    **{f"dw_linear_k{k}": k * k * H * W * C for k in K},
    **{f"{xsep}_k{k}": (4 + 2 * k) * H * W * C for k in K for xsep in ("xsep", "xsep_b", "xsep_p", "xsep_sp")},
    **{f"xsep_no2x2_k{k}": 2 * k * H * W * C for k in K},
    **{f"c{k}{sp}": k * k * H * W * C for k in (2, 4) for sp in ("sp", "")},
    **{f"group_k{k}_w{w}": k * k * w * H * W * C for k in (3, 5) for w in (2, 4, 8)},
    "mix_k357": (9 + 25 + 49) * H * W * C // 3,
    # whole blocks, C -> C: BSConv-S through a sixth of the channels
    **{f"sep_k{k}": (k * k + C) * H * W * C for k in K},
    **{f"bsconv_u_k{k}": (k * k + C) * H * W * C for k in K},
    **{f"bsconv_s_k{k}": (k * k + C // 6 + C // 6) * H * W * C for k in K},
    **{f"{name}_k{k}": (k * k + C) * H * W * C for k in K for name in ("sep_relu", "sep_elu", "hybrid")},
    **{f"c{k}sp_conv": k * k * C * H * W * C for k in (2, 4)},
    # the 1x1, and k x k in three segments
    **{f"{name}_k{k}": (C + k * k * C // 3) * H * W * C for k in (3, 5) for name in ("inception", "inception_re")},
    # two 1x1 to and from half the channels, and k x k on them, 4 a group
    **{f"resnext_k{k}": (C + 4 * k * k // 2) * H * W * C for k in (3, 5)},
    # two of the forms, BSConv-S through a quarter of the channels
    **{
        f"{where}_{form}": 2 * weights * H * W * C
        for where in ("res", "preres")
        for form, weights in {
            **{"k3": 9 * C, "c2sp": 4 * C, "sep_k3": 9 + C},
            **{"bsconv_u_k3": 9 + C, "bsconv_s_p4_k3": 9 + C // 4 + C // 4},
        }.items()
    },
}


def test_formulas_cover_every_operator_that_24_channels_allow() -> None:
    assert set(MACS_AT_STRIDE_1) == {name for name in OPERATORS if not name.endswith("_w16")}


@pytest.mark.parametrize("name", MACS_AT_STRIDE_1)
def test_costs_at_stride_1_are_the_papers_formulas(name: str) -> None:
    own = operators[name].cost(Slot(C, C, 1, H, W, "relu"))
    assert own.macs == MACS_AT_STRIDE_1[name]
    # of C channels each; ResNeXt's are of C / 2, C / 2 and C
    batch_norms = {
        **{"xsep": 3, "xsep_sp": 3, "xsep_b": 3, "xsep_p": 3, "xsep_no2x2": 2},
        **{"inception": 2, "inception_re": 2, "resnext": 2},
    }.get(name.rpartition("_")[0], 2 if name.startswith(("res_", "preres_")) else 1)
    assert own.params == MACS_AT_STRIDE_1[name] // (H * W) + batch_norms * 2 * C


@pytest.mark.parametrize("k", K)
def test_xsepconv_at_stride_2_costs_what_equation_4_says(k: int) -> None:
    own = operators[f"xsep_k{k}"].cost(Slot(C, C, 2, H, W, "relu"))
    assert own.macs == 4 * H * W * C + k * H * W * C // 2 + k * H * W * C // 4


def test_xsepconv_at_stride_2_is_cheaper_than_depthwise_only_from_kernel_7() -> None:
    slot = Slot(C, C, 2, H, W, "relu")
    cheaper = [k for k in K if operators[f"xsep_k{k}"].cost(slot).macs < operators[f"dw_k{k}"].cost(slot).macs]
    assert cheaper == [7]


def test_skip_costs_nothing() -> None:
    head, stem = Head(0, 0), Stem(4, 1)
    one = Architecture("m", 8, 3, 2, stem, (Block("skip", 4, 4),), head)
    two = Architecture("m", 8, 3, 2, stem, (Block("skip", 4, 4), Block("skip", 4, 4)), head)
    assert cost(one) == cost(two) == Cost(3 * 4 * 9 * 64 + 4 * 2, 3 * 4 * 9 + 8 + 4 * 2 + 2)
