"""Networks of families: the papers' figures, closed forms against counts, text and JSON, names, what is refused."""

from __future__ import annotations

import json
import pickle
import re
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from experiments.comparison.controls import check_names
from search_space import InvalidRequest, baseline, build, cost
from search_space.families import family_names, family_network, is_family_name
from search_space.families.family import FAMILIES, Family, register
from search_space.hand_designed import fit_baseline
from search_space.layered.fractal import Fractal, FractalColumns
from search_space.layered.joined import Joined, residual
from search_space.layered.layer import Map
from search_space.layered.simple import Conv, Norm
from search_space.layered_network import LayeredNetwork
from search_space.network import orthonormal_bases, orthonormal_loss
from search_space.serialization import load_plain_network, network_from_json, save_architecture, to_json

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "family_figures.json").read_text(encoding="utf-8"))
FIGURES: list[dict[str, Any]] = GOLDEN["figures"]
UNITS = {"K": 10**3, "M": 10**6, "G": 10**9}
#: those that take long to build are held to be as the shallow ones of the family
DEEP_NAMES = r"resnet-(56|110)|wrn-(28|40)|densenet-112|resnet-large-(26|34|68|102)"
NAMES = [name for name in family_names() if not re.match(DEEP_NAMES, name)]
#: one of each family, of the smallest that it has
SMALLEST = (
    *("resnet-8", "wrn-10-1", "resnet-large-10-c2sp", "resnet-large-50", "densenet-7", "densenet-bc-10-k4-bsconv-u"),
    *("darknet-19-sep", "fractalnet-10-c4", "vgg-16-bsconv-u", "xception-noresidual-elu", "xception-relu"),
    *("efficientnet-b0-bsconv-s", "mnasnet-b1"),
)


def printed(value: int, like: str) -> str:
    """``value`` with the unit and as many decimals as the figure ``like`` has."""
    number, unit = like[:-1], like[-1]
    return f"{(Decimal(value) / UNITS[unit]).quantize(Decimal(number), rounding=ROUND_HALF_UP)}{unit}"


def small(name: str, **sizes: Any) -> LayeredNetwork:
    return family_network(name, **{"image_size": 32, "in_channels": 3, "classes": 10, **sizes})


def counted(network: LayeredNetwork) -> tuple[int, int, int]:
    """MACs, parameters, and elements of batch norms, activations, sums and the last pooling, of the built network."""
    macs = elements = 0

    def count(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal macs, elements
        if isinstance(layer, nn.Conv2d):
            macs += output.numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Linear):
            macs += layer.weight.numel()
        elif isinstance(layer, nn.BatchNorm2d | nn.ReLU | Joined):
            elements += output.numel()
        elif isinstance(layer, nn.AdaptiveAvgPool2d):
            elements += inputs[0].numel()

    with torch.device("meta"), torch.no_grad():
        module = build(network).eval()
        for layer in module.modules():
            layer.register_forward_hook(count)
        scores = module(torch.empty(1, network.in_channels, network.image_size, network.image_size))
    assert scores.shape == (1, network.classes)
    return macs, sum(p.numel() for p in module.parameters()), elements


@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f"{f['network']}-{f['classes']}")
def test_costs_are_the_published_ones(figure: dict[str, Any]) -> None:
    sizes = {key: figure[key] for key in ("image_size", "classes")}
    network = baseline(figure["network"], **sizes, width=figure.get("width", 1.0))
    own = cost(network)
    assert printed(own.params, figure["params"]) == figure.get("ours", figure["params"]), figure["source"]
    assert own.params == figure.get("exact", own.params)
    if "operations" not in figure:
        return
    if figure["counts"] == "macs":
        assert printed(own.macs, figure["operations"]) == figure["operations"], figure["source"]
        return
    if figure["counts"] == "twice":
        assert printed(2 * (own.macs + figure["more_macs"]), figure["operations"]) == figure["operations"]
        return
    assert isinstance(network, LayeredNetwork)
    wanted = float(figure["operations"][:-1]) * UNITS[figure["operations"][-1]]
    macs, _, elements = counted(network)
    assert macs == own.macs
    assert abs(macs + elements - wanted) <= figure["within"] * wanted
    assert 0 <= wanted - macs <= figure["macs_below"] * wanted


@pytest.mark.parametrize("name", NAMES)
def test_closed_form_is_what_the_built_network_has(name: str) -> None:
    network = small(name, image_size=20, in_channels=1, classes=3)
    assert (cost(network).macs, cost(network).params) == counted(network)[:2]


@pytest.mark.parametrize("name", [*NAMES, "resnet-8-bsconv-s-p6-min4"])
def test_a_network_is_read_from_what_it_writes(name: str, tmp_path: Path) -> None:
    network = small(name, width=0.5)
    assert network_from_json(json.loads(json.dumps(to_json(network)))) == network
    save_architecture(network, tmp_path / "network.json")
    assert load_plain_network(tmp_path / "network.json") == network
    assert pickle.loads(pickle.dumps(network)) == network
    assert len({network, small(name, width=0.5)}) == 1


def test_texts_tell_networks_apart() -> None:
    networks = [small(name, width=width, classes=c) for name in NAMES for width, c in ((1, 10), (1, 11), (0.5, 10))]
    texts = {str(network) for network in networks}
    assert len(texts) == len(networks)
    assert all("\n" not in text for text in texts)


@pytest.mark.parametrize("operator", ["", "-bsconv-u", "-bsconv-s", "-sep", "-c2", "-c2sp", "-c4", "-c4sp"])
@pytest.mark.parametrize("plain", ["resnet-8", "wrn-10-1"])
def test_any_operator_trains(plain: str, operator: str) -> None:
    torch.manual_seed(0)
    network = build(small(plain + operator, image_size=9, width=0.25))
    scores = network(torch.randn(4, 3, 9, 9))
    nn.functional.cross_entropy(scores, torch.tensor([0, 1, 2, 3])).backward()
    gradients = [p.grad for p in network.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert sum(float(g.abs().sum()) > 0 for g in gradients if g is not None) == len(gradients)


@pytest.mark.parametrize("name", SMALLEST)
def test_every_family_trains_on_the_smallest_images(name: str) -> None:
    torch.manual_seed(0)
    network = build(small(name, image_size=8, width=0.05))
    scores = network(torch.randn(4, 3, 8, 8))
    assert scores.shape == (4, 10)
    nn.functional.cross_entropy(scores, torch.tensor([0, 1, 2, 3])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_the_figures_without_a_network_are_of_networks_that_have_none() -> None:
    assert not {figure["network"] for figure in FIGURES} & set(GOLDEN["no_figures"])
    assert all(is_family_name(name) for name in GOLDEN["no_figures"])


def test_the_joins_of_a_fractal_are_means_over_all_columns_that_end_there() -> None:
    # f3(x) with the identity for a unit is x, and with doubling columns of 4, 2 and 1 units it is their mean
    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    columns: Any = Fractal(3, (Norm(),)).module(Map(1, 1, 1))
    for part in columns.modules():
        if isinstance(part, FractalColumns):
            part.short = Twice()
    # the first half has columns of two units and of one, whose mean is 3x; the second half goes on from it
    assert float(columns(torch.ones(1))) == pytest.approx((3 * 4 + 3 * 2 + 2) / 3)
    assert len([part for part in columns.modules() if isinstance(part, Twice)]) == 7


@pytest.mark.parametrize("between", ["none", "relu", "elu"])
@pytest.mark.parametrize("bare", ["", "-noresidual"])
def test_xception_has_the_ablations_of_its_paper(bare: str, between: str) -> None:
    suffix = "" if between == "none" else f"-{between}"
    text = str(small(f"xception{bare}{suffix}"))
    assert ("sum(" in text) == (bare == "")
    assert ("sep_k3" in text, "sep_relu_k3" in text, "sep_elu_k3" in text) == tuple(
        between == each for each in ("none", "relu", "elu")
    )


def test_bsconv_s_of_bottlenecks_marks_each_projection_and_changes_nothing_else() -> None:
    plain, marked = small("mnasnet-b1"), small("mnasnet-b1-bsconv-s")
    assert str(plain).split(" ", 1)[1] == str(marked).split(" ", 1)[1].replace("basis_k1", "k1")
    assert cost(plain) == cost(marked)
    with torch.device("meta"):
        assert len(orthonormal_bases(build(marked))) == 17
        assert not orthonormal_bases(build(plain))


def test_the_subspaces_of_bsconv_s_are_held_to_be_orthonormal() -> None:
    network = build(small("resnet-8-bsconv-s"))
    bases = orthonormal_bases(network)
    # a quarter of 3, of 16 (3 times), of 32 (twice) and of 64: the inputs of the seven 3x3 convolutions
    assert [(conv.in_channels, conv.out_channels) for conv in bases] == [
        *((3, 1), (16, 4), (16, 4), (16, 4)),
        *((32, 8), (32, 8), (64, 16)),
    ]
    assert orthonormal_loss(bases).requires_grad
    least = orthonormal_bases(build(small("resnet-8-bsconv-s-p8-min4")))
    assert [conv.out_channels for conv in least] == [3, 4, 4, 4, 4, 4, 8]
    assert not orthonormal_bases(build(small("resnet-8-bsconv-u")))


def test_bsconv_u_is_a_dense_convolution_of_rank_one_kernels() -> None:
    # BSConv eq. 2: F[n, m] = w[n, m] * B[n]
    torch.manual_seed(0)
    layer = Conv("bsconv_u_k3", 6, 2)
    module: Any = layer.module(Map(5, 9, 9))
    dense = module.pointwise.weight * module.depthwise.weight
    x = torch.randn(2, 5, 9, 9)
    torch.testing.assert_close(module(x), nn.functional.conv2d(x, dense, stride=2, padding=1))


def test_even_kernels_spare_the_first_convolution_and_bsconv_does_not() -> None:
    def first(name: str) -> str:
        layer: Any = small(name).body[0]
        return str(layer.layers[0].form)

    assert (first("resnet-8-c2sp"), first("resnet-8-sep"), first("resnet-8-bsconv-u")) == ("k3", "k3", "bsconv_u_k3")


def test_a_network_is_fitted_to_a_budget() -> None:
    network, width = fit_baseline("wrn-10-2-bsconv-u", lambda own: own.macs <= 2_000_000)
    assert 1_700_000 <= cost(network).macs <= 2_000_000
    assert network == baseline("wrn-10-2-bsconv-u", width=width)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet-21", "baseline: 'resnet-21' has no depth of 6n + 2 layers, at most 2000; use 20 or 26 for 21"),
        ("resnet-3", "baseline: 'resnet-3' has no depth of 6n + 2 layers, at most 2000; use 8 or 14 for 3"),
        ("wrn-15-2", "baseline: 'wrn-15-2' has no depth of 6n + 4 layers, at most 2000; use 10 or 16 for 15"),
        ("resnet-20-bsconv", "baseline: 'resnet-20-bsconv' is unknown"),
        ("resnet-20-bsconv-s-p0", "baseline: 'resnet-20-bsconv-s-p0' is unknown"),
        ("densenet-41", "baseline: 'densenet-41' has no depth of 3n + 4 layers, at most 1000"),
        ("densenet-bc-40-k0", "baseline: 'densenet-bc-40-k0' is unknown"),
        ("fractalnet-30", "baseline: 'fractalnet-30' has no depth of 5, 10, 20, 40 or 80 layers"),
        ("resnet-large-20", "baseline: 'resnet-large-20' has none of the depths 10, 18, 26, 34, 50, 68, 101, 102"),
        ("wrn-16", "baseline: 'wrn-16' is unknown"),
    ],
)
def test_impossible_names_are_refused(name: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        baseline(name)
    assert str(caught.value).startswith(words)


def test_impossible_sizes_are_refused() -> None:
    for sizes, words in (
        ({"image_size": 4}, "image_size: 4"),
        ({"classes": 1}, "classes: 1"),
        ({"width": 0}, "width: 0"),
        ({"width": 17}, "width: 17"),
    ):
        with pytest.raises(InvalidRequest, match=f"^{re.escape(words)} must be "):
            small("resnet-8", **sizes)


def test_names_of_families_can_be_compared_with() -> None:
    check_names(["resnet-20", "wrn-16-4-bsconv-s-p6@fit"])
    assert is_family_name("resnet-302-c4sp")
    with pytest.raises(InvalidRequest, match=r"^baselines: 'resnet-20x' is unknown"):
        check_names(["resnet-20x"])


def test_a_family_must_know_its_own_names_alone() -> None:
    before = list(FAMILIES)
    for pattern, name in (("a", "b"), (r"resnet-\d+", "resnet-20")):
        with pytest.raises(ValueError, match=f"family mine: {name} is known to"):
            register(Family("mine", "", pattern, (name,), before[0].design))
    assert before == FAMILIES


DEEP: Any = {"layer": "series", "layers": []}
for _ in range(60):
    DEEP = {"layer": "series", "layers": [DEEP]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"FORMAT": "x"}, "network: key: 'FORMAT' is unknown"),
        ({"body": 3}, "body: 3 is not a list of layers"),
        ({"body": [3]}, "body[0]: 3 is not a JSON object"),
        ({"body": [{"layer": "convolution"}]}, "body[0].layer: 'convolution' is unknown; known are conv, "),
        ({"body": [{"layer": "conv", "size": 3}]}, "body[0]: key: 'size' is unknown"),
        ({"body": [{"layer": "conv", "form": "k4"}]}, "body[0].form: 'k4' has no odd kernel of at most 31"),
        ({"body": [{"layer": "conv", "form": "xsep"}]}, "body[0].form: 'xsep' is not a form of a convolution"),
        ({"body": [{"layer": "conv", "form": 3}]}, "body[0].form: 3 must be text"),
        ({"body": [{"layer": "conv", "channels": "8"}]}, "body[0].channels: '8' must be a whole number"),
        ({"body": [{"layer": "conv", "form": "dw_k3", "channels": 8}]}, "body[0].channels: 8 is impossible, as dw_k3"),
        ({"body": [{"layer": "conv", "stride": 3}]}, "body[0].stride: 3 must be 1 or 2"),
        ({"body": [{"layer": "pool", "how": "max"}]}, "body[0].kernel: missing"),
        ({"body": [{"layer": "pool", "how": "max", "kernel": 2, "stride": 1}]}, "body[0].stride: 1, but windows of 2"),
        ({"body": [{"layer": "act", "activation": "gelu"}]}, "body[0].activation: 'gelu' is unknown"),
        ({"body": [{"layer": "join", "how": "max", "branches": []}]}, "body[0].how: 'max' is unknown"),
        ({"body": [{"layer": "join", "how": "sum", "branches": []}]}, "body[0].branches: must be one or more series"),
        ({"body": [DEEP]}, "body[0]: layers hold layers more than 40 deep"),
        ({"hidden": 3}, "hidden: 3 is not a list of numbers"),
        ({"hidden": [0]}, "hidden[0]: 0 must be a whole number of at least 1"),
        ({"version": 2}, "architecture version: 2 cannot be read"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        network_from_json({**to_json(small("resnet-8")), **changes})
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


def test_branches_that_do_not_fit_are_named() -> None:
    body = (residual(Conv("k3", 8)),)
    with pytest.raises(InvalidRequest, match=r"^body\[0\]: branches: 8x32x32 and 3x32x32 cannot be joined by sum$"):
        LayeredNetwork("mine", 32, 3, 10, body)
