"""``sepnas convert``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.commands import Refused, write

from experiments.conversion import convert_call
from search_space import convert
from search_space.weights import load_weights

MODULE = """
from torch import nn

from search_space import convert as converted


def net(in_channels, classes):
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1),
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes)
    )


def net_bsconv(**sizes):
    return converted(net(**{name: sizes[name] for name in ("in_channels", "classes")}), "bsconv_u").model


def pointwise():
    return nn.Sequential(nn.Conv2d(3, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "converted_nets", raising=False)
    write(MODULE, "converted_nets.py")


def test_a_network_is_converted_reported_and_written(said: Callable[..., str]) -> None:
    arguments = ("convert", "converted_nets:net", "--to", "bsconv_u", "--input", 8, "--init", "from-weights")
    told = said(*arguments, "--out", "out")
    assert told.startswith("converted_nets:net: 2 convolutions converted to bsconv_u, 1 convolution left as they are")
    assert "is of one channel for each filter (depthwise)" in told
    assert Path("out/conversion.txt").read_text() == told
    report = json.loads(Path("out/conversion.json").read_text())
    assert (report["network"], report["image_size"], report["init"]) == ("converted_nets:net", 8, "from-weights")
    assert [row["names"] for row in report["changed"]] == [["0"], ["3"]]
    assert all(0 < row["error"] < 1 for row in report["changed"])
    assert report["macs_before"] > report["macs_after"]
    from converted_nets import net  # type: ignore[import-not-found]

    model = convert(net(3, 10), "bsconv_u").model
    load_weights(model, "out/weights.safetensors")
    assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 10)
    assert json.loads(said(*arguments, "--json"))["changed"] == report["changed"]


def test_what_the_caller_draws_does_not_depend_on_a_conversion() -> None:
    state = torch.get_rng_state()
    convert_call("converted_nets:net", "bsconv_u", {"image_size": 8, "in_channels": 3, "classes": 10}, seed=7)
    assert torch.equal(torch.get_rng_state(), state)


def test_layers_are_chosen_by_their_names(said: Callable[..., str]) -> None:
    told = json.loads(
        said("convert", "converted_nets:net", "--to", "c2sp", "--only", "0,[34]", "--leave", "3", "--json")
    )
    assert [row["names"] for row in told["changed"]] == [["0"], ["4"]]


def test_a_callable_that_converts_is_a_model_of_ones_own() -> None:
    from search_space import OwnModel, cost

    own = OwnModel.of("converted_nets:net_bsconv", image_size=8, in_channels=3, classes=10)
    # 3 x 3 of 8 channels and 1 x 1 in place of two dense ones
    assert cost(own).macs == 64 * (3 * 8 + 8 * 9 + 8 * 8 + 8 * 9 + 8 * 9) + 80
    assert own.build()(torch.zeros(2, 3, 8, 8)).shape == (2, 10)


def test_wrong_requests_are_refused(refused: Refused) -> None:
    def told(*more: object) -> str:
        return refused("convert", "converted_nets:net", "--to", "bsconv_u", *more)

    assert refused("convert", "converted_nets:net", "--to", "bsconf").startswith(
        "to: 'bsconf' is unknown; known are bs"
    )
    assert refused("convert", "converted_nets:net").startswith("required: --to")
    assert refused("convert", "converted_nets", "--to", "sep").startswith(
        "network: 'converted_nets' is not of the form"
    )
    assert refused("convert", "converted_nets:pointwise", "--to", "sep") == (
        "network: 'converted_nets:pointwise' has no layer that sep can replace: 0 has a 1x1 kernel"
    )
    assert told("--only", "9").startswith("--only: '9' matches no convolution; known are 0, 3, 4")
    assert told("--leave", "0,,3").startswith("--leave: '0,,3' has an empty pattern")
    assert told("--input", 0).startswith("--input: 0 must be a whole number from 1")
    assert told("--between", "relu").startswith("between: 'relu' has no place in bsconv_u")
    assert told("--overwrite") == "--overwrite: goes with --out only; leave it out"
    write("{}", "conversion.json")
    assert "already holds conversion.json" in told("--out", ".")
