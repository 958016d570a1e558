"""``sepnas analyse``: kernel correlations, the shift of even-sized kernels, receptive fields."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.commands import Refused, write
from sklearn.decomposition import PCA
from torch import nn

from experiments.analyses.correlations import correlations, explained, read_tensors
from experiments.analyses.impulse import Reach, linear, reach
from experiments.analyses.narrow import narrowed
from experiments.analyses.receptive_field import receptive_fields
from experiments.analyses.shift import KERNELS, _wrapped, measure
from search_space import Architecture, InvalidRequest, baseline, cost, operators
from search_space.families import family_network
from search_space.layered.forms import form
from search_space.layered.joined import Join, Series, residual
from search_space.layered.layer import Map
from search_space.layered.simple import Conv
from search_space.layered_network import LayeredNetwork
from search_space.layers import EvenPad
from search_space.padding import CYCLE, FOUR_GROUPS, Direction
from search_space.registry import Slot


def test_what_one_blueprint_explains_is_the_share_of_the_first_principal_component() -> None:
    kernels = torch.randn(5, 12, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    expected = [PCA().fit(kernel.flatten(1).numpy()).explained_variance_ratio_[0] for kernel in kernels]
    np.testing.assert_allclose(explained(kernels).numpy(), expected)
    blueprint = torch.einsum("nm,nhw->nmhw", torch.randn(5, 12), torch.randn(5, 3, 3)) + torch.randn(5, 1, 3, 3)
    np.testing.assert_allclose(explained(blueprint.double()).numpy(), 1, atol=1e-6)
    assert len(explained(torch.ones(2, 4, 3, 3))) == 0  # nothing varies


def test_stages_are_layers_of_one_width_or_what_their_names_say() -> None:
    tensors = {
        name: torch.randn(filters, 4, 3, 3)
        for name, filters in {"a.1.weight": 8, "a.2.weight": 8, "b.1.weight": 16, "c.1.weight": 8}.items()
    }
    tensors |= {"depthwise": torch.randn(8, 1, 3, 3), "pointwise": torch.randn(8, 8, 1, 1), "bias": torch.randn(8)}
    assert [layer.stage for layer in correlations(tensors, "x")] == [
        *["1: 8 filters", "1: 8 filters", "2: 16 filters", "3: 8 filters"]
    ]
    assert [(layer.name[0], layer.stage) for layer in correlations(tensors, "x", r"([ab])\.1")] == [
        *[("a", "a"), ("b", "b")]
    ]
    layer = correlations(tensors, "x")[0]
    assert layer.shares.mean() == pytest.approx(layer.random, abs=0.1)  # it is of random numbers itself
    with pytest.raises(InvalidRequest, match="subject: 'x' has no dense or grouped convolutions larger than 1x1"):
        correlations({"bias": torch.zeros(3)}, "x")
    with pytest.raises(InvalidRequest, match=r"subject: 'x' has only filters whose slices are all alike"):
        correlations({"weight": torch.ones(2, 4, 3, 3)}, "x")


class Harmful:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return Path.touch, (Path("harmed"),)  # type: ignore[return-value]


def test_weights_are_read_from_what_torch_saves_without_unpickling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    state = nn.Conv2d(4, 8, 3).state_dict()
    torch.save(state, "plain.pt")
    torch.save({"epoch": 3, "state_dict": state}, "nested.ckpt")
    torch.save(Harmful(), "harmful.pt")
    for name in ("plain.pt", "nested.ckpt"):
        assert torch.equal(read_tensors(name)["weight"], state["weight"])
    write("not weights", "text.pt")
    for name, told in (
        ("harmful.pt", "cannot be read as plain weights"),
        ("text.pt", "cannot be read as plain weights"),
        ("absent.pt", "is neither a file nor a folder, nor of the form module:callable"),
    ):
        with pytest.raises(InvalidRequest, match=f"subject: '{name}' {told}"):
            read_tensors(name)
    assert not Path("harmed").exists()


#: the side of the receptive field of each operator, whatever its kernel is called
FIELDS = {
    **{f"dw_k{k}": k for k in (3, 5, 7)},
    **{f"xsep_k{k}": k + 1 for k in (3, 5, 7)},
    **{f"xsep_b_k{k}": k + 1 for k in (3, 5, 7)},
    **{f"xsep_no2x2_k{k}": k for k in (3, 5, 7)},
    # the four groups of padding look to all sides
    **{f"xsep_sp_k{k}": k + 2 for k in (3, 5, 7)},
    **{"c2": 2, "c4": 4, "c2sp": 3, "c4sp": 5, "c2sp_conv": 3, "mix_k357": 7, "bsconv_u_k5": 5, "sep_k3": 3},
}


@pytest.mark.parametrize("name", FIELDS)
def test_operators_see_as_far_as_their_definitions_say(name: str) -> None:
    operator = operators[name]
    layer = linear(operator.module(Slot(16, 16, 1, 32, 32, "hardswish"), CYCLE[:1] * operator.directed_layers))
    assert reach(layer, 16).size == (FIELDS[name], FIELDS[name])
    directed = operator.directed_layers or name in ("c2", "c4")
    assert reach(layer, 16).offset == ((0.5, 0.5) if directed else (0, 0))


@pytest.mark.parametrize("direction", CYCLE)
def test_the_2x2_of_an_xsep_shifts_to_the_side_that_is_padded(direction: Direction) -> None:
    layer = linear(operators["xsep_k5"].module(Slot(4, 4, 2, 32, 32, "relu"), (direction,)))
    left, right, top, bottom = direction.value
    assert reach(layer, 4) == Reach(2 + left, 2 + right, 2 + top, 2 + bottom, stride=2)


def network(count: int) -> Architecture:
    """A network whose first blocks at one stride are ``count`` of xsep."""
    small = baseline("mobilenetv3-small", width=0.25)
    blocks = [replace(small.blocks[4], operator="xsep_k5") for _ in range(count)]
    return replace(small, blocks=(*small.blocks[:5], *blocks))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_the_padding_strategy_keeps_the_offset_to_one_pixel(count: int) -> None:
    found = receptive_fields(network(count))
    last = found[-1]
    assert last.measured == last.total
    most = max(abs(offset) / last.total.stride for offset in last.total.offset)
    assert most <= 1
    if count % 4 in (0, 1, 2):  # what is left over pads by four groups, or in opposite directions
        assert most == 0
    assert [one.own.size[0] for one in found if "xsep" in one.part] == [6] * (count - (count % 4 == 1)) + [7] * (
        count % 4 == 1
    )


def test_fields_of_a_whole_network_add_up() -> None:
    found = receptive_fields(baseline("mobilenetv3-small-xsep"))
    side, stride = 1, 1
    for one in found:
        own = one.own.size[0]
        side, stride = side + (own - 1) * stride, stride * one.own.stride
        assert one.total.size == (side, side)
    assert [one.part for one in found if one.measured is not None] == [
        *["block 0 dw_k3", "block 2 dw_k3", "block 7 xsep_k5", "block 10 xsep_k3"]
    ]
    assert all(one.measured in (None, one.total) for one in found)
    layered = receptive_fields(baseline("resnet-20-c2", image_size=8, in_channels=1, width=0.25))
    # three blocks of two layers at each of three strides; half a pixel each, from the layers in front of a stride on
    assert layered[-1].of_image.offset == layered[-1].total.offset == (0.5 * (6 * 1 + 1 + 5 * 2 + 2 + 5 * 4),) * 2


NARROW = ("resnet-8-c2sp", "wrn-10-1-c2", "densenet-7-k8-c2sp", "densenet-7-k8-c4sp")


@pytest.mark.parametrize("name", NARROW)
def test_the_narrow_form_that_is_probed_sees_what_the_network_sees(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = family_network(name, image_size=8, in_channels=1, classes=2)
    assert cost(narrowed(network)).params < cost(network).params
    found = receptive_fields(network)
    monkeypatch.setattr("experiments.analyses.receptive_field.narrowed", lambda own: own)
    assert receptive_fields(network) == found


def test_a_network_that_cannot_be_narrowed_is_probed_as_it_is() -> None:
    network = LayeredNetwork("mine", 8, 1, 2, (residual(Conv("k3", 1)),))
    assert narrowed(network) == network
    assert receptive_fields(network)[-1].of_image.size == (3, 3)


@pytest.mark.parametrize("depth", [3, 8])
def test_a_densenet_with_symmetric_padding_sees_further_to_one_side(depth: int) -> None:
    def dense() -> Join:
        return Join("concat", (Series(()), Series.of(Conv("c2sp", 4))))

    network = LayeredNetwork("mine", 8, 1, 2, (Conv("k1", 8), *(dense() for _ in range(depth))))
    found = receptive_fields(network)[-1]
    # what each channel sees on the left, right, top and bottom: a new one sees what those in front of it see, and what
    # the group adds in which they are
    sees, channels = [(0, 0, 0, 0)], 8
    sees *= channels
    for _ in range(depth):
        sizes = EvenPad(2, Direction.FOUR_GROUP, channels).groups
        adds = [way.zeros(2) for count, way in zip(sizes, FOUR_GROUPS, strict=True) for _ in range(count)]
        sums = [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(sees, adds, strict=True)]
        new = tuple(max(side) for side in zip(*sums, strict=True))
        sees, channels = [*sees, *[new] * 4], channels + 4
    left, right, top, bottom = (max(side) for side in zip(*sees, strict=True))
    assert found.measured == Reach(left, right, top, bottom)
    # each layer by itself sees as far to all sides
    assert found.total == Reach(depth, depth, depth, depth)
    assert found.of_image.offset[0] < 0 < found.of_image.offset[1]


@pytest.mark.parametrize("name", ["k3", "c2", "c4sp"])
def test_maps_that_wrap_around_have_no_edges(name: str) -> None:
    torch.manual_seed(0)
    layer = form(name).module(Map(8, 8, 8), 4, 1, bias=False)
    maps = torch.randn(2, 8, 8, 8)
    with torch.no_grad():
        inside = layer(maps)[..., 2:-2, 2:-2]
        whole = _wrapped(layer, maps)
        assert torch.allclose(whole[..., 2:-2, 2:-2], inside, atol=1e-6)
        assert torch.allclose(_wrapped(layer, maps.roll((3, 1), (2, 3))), whole.roll((3, 1), (2, 3)), atol=1e-6)


def test_even_kernels_shift_and_erase_maps_unless_they_are_padded_symmetrically() -> None:
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = measure(images, "noise", list(KERNELS), range(3), depth=20)
    assert found.sides == [32] * 7 + [16] * 6 + [8] * 6
    last = {row["kernel"]: row for row in found.rows() if row["layer"] == 18}
    assert last["C3"]["share"] > 1.5 * last["C2"]["share"]
    assert last["C4sp"]["share"] > 1.1 * last["C4"]["share"]
    for kernel, row in last.items():
        assert row["share_low"] < row["share"] < row["share_high"]
        if kernel in ("C2", "C4"):  # six layers at each of three strides (eq. 6), of which two begin a stride
            assert (row["offset_down"], row["offset_right"]) == (0.5 * (6 + 1 + 10 + 2 + 20),) * 2
            assert max(row["centre_down"], row["centre_right"]) < -0.05
        else:
            assert (row["offset_down"], row["offset_right"]) == (0, 0)
            assert max(abs(row["centre_down"]), abs(row["centre_right"])) < 0.05
    ratios = {(row["above"], row["of"]): row["ratio"] for row in found.orders()}
    assert math.isclose(ratios["C3", "share"], last["C3"]["share"] / last["C2"]["share"])
    # the seeds decide the weights, and the kernels that are asked for do not matter
    again = measure(images, "noise", ["C2"], range(1), depth=20)
    assert again.traces["C2"][0] == found.traces["C2"][0]


@pytest.mark.parametrize(
    ("name", "arguments", "rows"),
    [
        ("correlations", ("correlations", "analysed_nets:net"), 2),
        ("shift", ("shift", "--kernels", "C2,C2sp", "--depth", 8, "--seeds", 2, "--images", 2), 14),
        ("receptive_field", ("receptive-field", "mobilenetv3-small-xsep", "--width", 0.25), 12),
    ],
)
def test_each_analysis_leaves_table_figures_and_picture(
    name: str,
    arguments: tuple[object, ...],
    rows: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: Callable[..., str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write(
        "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3))\n",
        "analysed_nets.py",
    )
    told = said("analyse", *arguments, "--out", "out")
    assert len(list(csv.DictReader(Path(f"out/{name}.csv").read_text().splitlines()))) == rows
    assert Path(f"out/{name}.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(said("analyse", *arguments, "--json")) == json.loads(Path(f"out/{name}.json").read_text())
    assert len(told.splitlines()) > 3


def test_wrong_requests_are_refused(refused: Refused) -> None:
    assert refused("analyse", "shift", "x") == "subject: 'x', but shift has none; leave it out"
    assert refused("analyse", "correlations").startswith("subject: missing; name what to analyse")
    assert refused("analyse", "shift", "--stage", "a") == "--stage: goes with correlations only; leave it out"
    assert refused("analyse", "shift", "--kernels", "C5").startswith("--kernels: 'C5' is unknown; known are C2, C3")
    assert refused("analyse", "shift", "--seeds", 0).startswith("--seeds: 0 must be a whole number from 1")
    assert "depth" in refused("analyse", "shift", "--depth", 57)
    assert refused("analyse", "receptive-field", "x").startswith("network: 'x' is neither a baseline, nor")
    assert refused("analyse", "shift", "--overwrite") == "--overwrite: goes with --out only; leave it out"
    assert "what: 'shft' is unknown" in refused("analyse", "shft")
    write("", "shift.csv")
    assert "already holds shift.csv" in refused("analyse", "shift", "--out", ".")
