"""Drop-in conversion: what layers become, which of their properties are kept, what stays and why."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from search_space import Conversion, InvalidRequest, baseline, build, convert, cost, operators
from search_space.conversion.replacement import replacement
from search_space.conversion.targets import TARGETS, kind_of
from search_space.layers import ConvNormAct, EvenConvNormAct
from search_space.network import orthonormal_bases
from search_space.padding import CYCLE
from search_space.registry import Slot

#: (input channels, output channels, groups): dense, grouped, depthwise, depthwise with two kernels each, grey
SHAPES = ((8, 12, 1), (8, 16, 4), (8, 8, 8), (4, 8, 4), (1, 4, 1))


def small(**more: Any) -> nn.Sequential:
    """A network with a dense, a depthwise, a pointwise and a strided layer."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False, **more),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 5, padding=2, groups=8),
        nn.Conv2d(8, 12, 1),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, stride=2, padding=1),
    )


@settings(max_examples=300, derandomize=True)
@given(
    to=st.sampled_from([*TARGETS, "bsconv_s_p2_min3"]),
    shape=st.sampled_from(SHAPES),
    kernel=st.sampled_from([2, 3, 4, 5, (1, 3), (4, 3)]),
    stride=st.sampled_from([1, 2, (1, 2), 3]),
    padding=st.sampled_from([0, 1, 2, (2, 1), "same"]),
    dilation=st.sampled_from([1, 2]),
    bias=st.booleans(),
    mode=st.sampled_from(["zeros", "reflect"]),
    size=st.sampled_from([(12, 12), (13, 10)]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    init=st.sampled_from(["fresh", "from-weights"]),
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
def test_every_layer_keeps_its_shape_or_is_skipped_with_a_reason(
    to: str,
    shape: tuple[int, int, int],
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: int,
    bias: bool,
    mode: str,
    size: tuple[int, int],
    dtype: torch.dtype,
    init: Any,
) -> None:
    channels, out, groups = shape
    if padding == "same" and stride != 1:
        stride = 1  # torch allows nothing else
    layer = nn.Conv2d(channels, out, kernel, stride, padding, dilation, groups, bias, mode, dtype=dtype)
    network = nn.Sequential(layer, nn.ReLU())
    images = torch.randn(2, channels, *size, dtype=dtype)
    before = network(images)
    result = convert(network, to, init=init)
    after = network(images)
    assert after.shape == before.shape
    assert after.dtype == dtype
    assert after.isfinite().all()
    if not result.changed:
        assert network[0] is layer
        assert result.skipped[0].why
        return
    assert [part for part in network.modules() if isinstance(part, nn.Conv2d)][-1].bias is not None or not bias
    after.float().square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("to", TARGETS)
def test_the_layers_are_those_of_the_operator(to: str) -> None:
    # the operator, with the weights of the replacement and without norms, computes the same
    name = {"c2": "c2", "c4": "c4", "c2sp": "c2sp_conv", "c4sp": "c4sp_conv"}.get(to, f"{to}_k3")
    depthwise = operators[name].scope == "spatial"
    layer = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8 if depthwise else 1, bias=False)
    directions = CYCLE[1:2] * operators[name].directed_layers
    module = replacement(TARGETS[to].make(TARGETS[to].even or 3), layer, directions)
    operator = operators[name].module(Slot(8, 8, 2, 12, 12, "none"), directions)
    for part in operator.modules():
        if isinstance(part, ConvNormAct | EvenConvNormAct):
            part.norm = nn.Identity()
    operator.load_state_dict(module.state_dict())
    images = torch.randn(2, 8, 12, 12)
    assert torch.equal(operator(images), module(images))


def structured(kind: str) -> tuple[str, Tensor, dict[str, Any]]:
    """(operator, a kernel that it makes exactly, the layer's other arguments)."""
    torch.manual_seed(1)
    weights, low = torch.randn(12, 8), torch.randn(12, 2) @ torch.randn(2, 8)
    by_filter, by_channel = torch.randn(12, 3, 3), torch.randn(8, 3, 3)
    dense = {"in_channels": 8, "out_channels": 12, "kernel_size": 3, "padding": 1}
    grouped = {**dense, "groups": 4, "dilation": 2, "padding": 2}
    if kind == "blueprint":
        return "bsconv_u", torch.einsum("nm,nhw->nmhw", weights, by_filter), dense
    if kind == "grouped blueprint":
        return "bsconv_u", torch.einsum("nm,nhw->nmhw", weights[:, :2], by_filter), grouped
    if kind == "subspace blueprint":
        return "bsconv_s", torch.einsum("nm,nhw->nmhw", low, by_filter), dense
    if kind == "blueprint of a row":
        row = {**dense, "kernel_size": (1, 5), "padding": (0, 2)}
        return "bsconv_u", torch.einsum("nm,nhw->nmhw", weights, torch.randn(12, 1, 5)), row
    if kind == "separable column":
        column = {**dense, "kernel_size": (4, 1), "padding": (3, 1)}
        return "sep", torch.einsum("nm,mhw->nmhw", weights, torch.randn(8, 4, 1)), column
    if kind == "half subspace":
        half = torch.randn(12, 4) @ torch.randn(4, 8)
        return "bsconv_s_p2", torch.einsum("nm,nhw->nmhw", half, by_filter), dense
    if kind == "separable":
        return "sep", torch.einsum("nm,mhw->nmhw", weights, by_channel), dense
    if kind == "grouped separable":
        shared = by_channel.reshape(4, 2, 3, 3).repeat_interleave(3, dim=0)
        return "sep", torch.einsum("nm,nmhw->nmhw", weights[:, :2], shared), grouped
    if kind.startswith("xsep"):
        row_and_column = torch.einsum("ch,cw->chw", torch.randn(8, 5), torch.randn(8, 5))[:, None]
        return kind, row_and_column, {"in_channels": 8, "out_channels": 8, "kernel_size": 5, "padding": 2, "groups": 8}
    return kind, torch.randn(12, 8, 3, 3), dense


EXACT = (
    *("blueprint", "grouped blueprint", "blueprint of a row", "subspace blueprint", "half subspace"),
    *("separable", "grouped separable", "separable column"),
)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", [*EXACT, "xsep", "xsep_sp", "xsep_no2x2", "xsep_b", "c4sp", "c4"])
def test_a_kernel_of_the_operators_form_is_reproduced(kind: str, stride: int) -> None:
    to, kernel, arguments = structured(kind)
    layer = nn.Conv2d(**arguments, stride=stride)
    with torch.no_grad():
        layer.weight.copy_(kernel / kernel.norm())
    images = torch.randn(2, 8, 13, 12)
    before = layer(images)
    result = convert(layer, to, init="from-weights")
    assert isinstance(result.model, nn.Module)
    assert result.changed[0].error == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(result.model(images), before, atol=1e-5, rtol=0)


@pytest.mark.parametrize("to", ["bsconv_u", "bsconv_s", "sep", "xsep", "c2sp"])
def test_other_kernels_are_met_as_nearly_as_the_report_says(to: str) -> None:
    torch.manual_seed(2)
    groups = 8 if to == "xsep" else 1
    layer = nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=False)
    images = torch.randn(64, 8, 12, 12)
    before, weight = layer(images), layer.weight.detach().clone()
    result = convert(layer, to, init="from-weights")
    error = result.changed[0].error
    assert error is not None
    assert 0.05 < error < 1
    # over white images, errors of kernels are errors of maps
    difference = (result.model(images) - before).square().mean().sqrt() / before.square().mean().sqrt()
    assert difference.item() == pytest.approx(error, rel=0.05)
    if to == "bsconv_u":  # no other factorisation is nearer
        values = torch.linalg.svdvals(weight.flatten(2))
        assert error == pytest.approx(float(values[:, 1:].norm() / values.norm()), rel=1e-4)


@pytest.mark.parametrize(("to", "channels"), [("bsconv_s", 3), ("bsconv_s_p4", 4), ("bsconv_s_p4_min6", 6)])
def test_the_subspace_of_bsconv_s_is_as_wide_as_its_name_says(to: str, channels: int) -> None:
    layer = convert(nn.Conv2d(16, 8, 3), to).model
    assert [base.out_channels for base in orthonormal_bases(layer)] == [channels]


def test_what_a_layer_has_is_kept() -> None:
    network = small().to(memory_format=torch.channels_last, dtype=torch.float64)
    network[0].weight.requires_grad_(False)
    network[6].bias.requires_grad_(False)
    network[6].eval()
    result = convert(network, "bsconv_u", inputs=(3, 9, 12))
    assert result.model is network
    new = network[0]
    assert (new.in_channels, new.out_channels, new.kernel_size, new.padding) == (3, 8, (3, 3), (1, 1))
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float64}
    assert network[0].pointwise.weight.is_contiguous(memory_format=torch.channels_last)
    assert [p.requires_grad for p in new.parameters()] == [False, False]
    trained = {name: p.requires_grad for name, p in network[6].named_parameters()}
    assert trained == {"pointwise.weight": True, "depthwise.conv.weight": True, "depthwise.conv.bias": False}
    assert [network[index].training for index in (0, 1, 6)] == [True, True, False]
    assert not any(part.training for part in network[6].modules())
    copy.deepcopy(network).load_state_dict(network.state_dict())


def test_the_report_says_what_became_of_each_layer_and_what_it_cost() -> None:
    result = convert(small(), "bsconv_u", lambda name, layer: name != "6", inputs=(3, 8, 8))
    assert [(row.names, row.was, row.params_before, row.params_after) for row in result.changed] == [
        (("0",), "3 -> 8, 3x3", 216, 96)
    ]
    assert {row.names[0]: row.why for row in result.skipped} == {
        "3": "is of one channel for each filter (depthwise); bsconv_u replaces dense and grouped ones",
        "4": "has a 1x1 kernel",
        "6": "is left out by `where`",
    }
    rest = 64 * (8 * 25 + 8 * 12) + 16 * 12 * 12 * 9
    assert result.macs_before == 64 * 216 + rest
    assert result.macs_after == 64 * 96 + rest
    assert result.params_before - result.params_after == 216 - 96
    assert result.as_dict()["changed"][0]["names"] == ("0",)


def test_counts_of_our_own_networks_agree() -> None:
    plain, separated = (baseline(f"mobilenetv3-small{form}", width=0.25) for form in ("", "-xsep"))
    swapped = [index for index, block in enumerate(separated.blocks) if "xsep" in block.operator]
    network = build(plain)
    result = convert(
        network,
        "xsep",
        lambda name, layer: kind_of(layer) == "depthwise" and int(name.split(".")[1]) in swapped,
        between="hardswish",
        inputs=(3, 32, 32),
    )
    # the last batch norm of each operator is the network's own; kernels are the layer's, so that 5x5 stay 5x5
    assert len(result.changed) == len(swapped)
    wider = separated.with_operators({index: plain.blocks[index].operator.replace("dw", "xsep") for index in swapped})
    assert result.macs_before == cost(plain).macs
    assert (result.macs_after, result.params_after) == (cost(wider).macs, cost(wider).params)
    own, other = (
        [part.direction for part in each.modules() if type(part).__name__ == "EvenPad"]
        for each in (network, build(separated))
    )
    assert own == other


def test_shared_layers_are_converted_once() -> None:
    layer = nn.Conv2d(4, 4, 3, padding=1)
    network = nn.ModuleDict({"a": layer, "b": nn.Sequential(layer, nn.Sequential(layer))})
    result = convert(network, "sep")
    assert [row.names for row in result.changed] == [("a", "b.0", "b.1.0")]
    assert network["a"] is network["b"][0] is network["b"][1][0]
    assert network["a"] is not layer


class Wider(nn.Conv2d):
    """A convolution that does more."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_layers_that_do_more_than_a_convolution_are_skipped() -> None:
    def layer() -> nn.Conv2d:
        return nn.Conv2d(4, 4, 3, padding=1)

    tied, own, hooked, pruned = layer(), layer(), layer(), layer()
    tied.weight = own.weight
    hooked.register_forward_hook(lambda module, images, made: made)
    pruned.register_buffer("mask", torch.ones(4))
    patched = layer()
    patched.forward = lambda images: images  # type: ignore[method-assign]
    network = nn.ModuleDict(
        {
            "wider": Wider(4, 4, 3),
            "lazy": nn.LazyConv2d(4, 3),
            "normed": parametrizations.weight_norm(layer()),
            "hooked": hooked,
            "pruned": pruned,
            "patched": patched,
            "tied": tied,
            "own": own,
        }
    )
    result = convert(network, "bsconv_u")
    assert not result.changed
    assert {row.names[0]: row.why for row in result.skipped} == {
        "wider": "is of type Wider, a subclass of Conv2d that may do more",
        "lazy": "is of type LazyConv2d, a subclass of Conv2d that may do more",
        "normed": "has parametrizations of weight",
        "hooked": "has hooks (forward hooks)",
        "pruned": "has more than weight and bias: mask",
        "patched": "has a forward of its own",
        "tied": "has weights that own holds too",
        "own": "has weights that tied holds too",
    }


class Aside(nn.Module):
    """Calls its layer by a list that torch does not look into."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.kept = [self.layer]

    def forward(self, x: Tensor) -> Tensor:
        return self.kept[0](x)


class ByWeight(Aside):
    """Uses the weight of its layer."""

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.layer.weight.mean()


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (Aside, "model: 'layer' is used other than by calling it; leave it out by `where`"),
        (ByWeight, "model: 'ByWeight' cannot take inputs of 3x8x8 \\(AttributeError: .*weight"),
    ],
)
def test_a_network_that_does_not_work_with_its_new_layers_is_put_back(network: type[Aside], told: str) -> None:
    model = network()
    layer = model.layer
    with pytest.raises(InvalidRequest, match=told):
        convert(model, "bsconv_u", inputs=(3, 8, 8))
    assert model.layer is layer


def wrong(**changes: Any) -> Conversion:
    return convert(**{"model": small(), "to": "bsconv_u", **changes})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"to": "bsconv"}, "to: 'bsconv' is unknown; known are bsconv_u, .*did you mean bsconv_"),
        ({"to": "bsconv_s_p0"}, "to: 'bsconv_s_p0' is unknown"),
        ({"init": "old"}, "init: 'old' is unknown; known are fresh, from-weights"),
        ({"between": "relu"}, "between: 'relu' has no place in bsconv_u; it goes with xsep, "),
        ({"to": "xsep", "between": "rel"}, "between: 'rel' is unknown"),
        ({"to": "xsep", "between": "relu", "init": "from-weights"}, "between: 'relu' makes an operator that no kernel"),
        ({"inputs": (3, 8)}, r"inputs: \(3, 8\) must be \(channels, height, width\) of one image"),
        ({"inputs": (4, 8, 8)}, "model: 'Sequential' cannot take inputs of 4x8x8"),
        ({"model": "net"}, "model: 'str' is not a torch.nn.Module"),
    ],
)
def test_impossible_requests_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{told}"):
        wrong(**changes)


def test_weights_on_meta_can_be_converted_but_not_taken() -> None:
    with torch.device("meta"):
        network = small()
    result = convert(network, "bsconv_u", inputs=(3, 8, 8))
    assert result.macs_after is not None
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}
    with torch.device("meta"), pytest.raises(InvalidRequest, match="init: 'from-weights' needs weights; those of the"):
        convert(small(), "bsconv_u", init="from-weights")
