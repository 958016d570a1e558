"""What `sepnas cost` and `sepnas list` print."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.commands import Refused, architecture_file, network

from evaluators.training.presets import RECIPES
from experiments.cli import main
from search_space.hand_designed import baseline, baselines
from search_space.network_cost import cost
from search_space.registry import operators
from search_space.serialization import save_architecture
from strategies.registry import STRATEGIES

# --- cost and list ---


def test_cost_prints_what_the_library_computes(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--input", "56", "--classes", "100", "--channels", "1", "--width", "0.5"]
    assert main(["cost", "mobilenetv3-small-xsep", *options, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    own = cost(baseline("mobilenetv3-small-xsep", image_size=56, classes=100, in_channels=1, width=0.5))
    assert (printed["macs"], printed["params"]) == (own.macs, own.params)
    assert main(["cost", "mobilenetv3-small"]) == 0
    own = cost(baseline("mobilenetv3-small"))
    said = capsys.readouterr().out
    assert f"{own.macs:,}" in said
    assert f"{own.params:,}" in said
    assert "2xMACs" in said


def test_cost_of_a_file_is_that_of_its_architecture_for_other_inputs_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my network.json"
    save_architecture(network(), path)
    for options, wanted in (
        ([], network()),
        (["--input", "32", "--classes", "7"], replace(network(), image_size=32, classes=7)),
    ):
        assert main(["cost", str(path), *options, "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert (printed["macs"], printed["params"]) == (cost(wanted).macs, cost(wanted).params)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resnet50"], ["'resnet50'", "mobilenetv3-small", "JSON"]),
        (["mobilenetv3-small", "--input", "4"], ["image_size", "4", "at least 8"]),
        (["mobilenetv3-small", "--input", "many"], ["input", "'many'", "whole number"]),
        (["mobilenetv3-small", "--classes", "1"], ["classes", "1"]),
        (["mobilenetv3-small", "--width", "0"], ["width", "0"]),
        (["."], ["."]),
    ],
)
def test_cost_refuses_what_cannot_be(refused: Refused, arguments: list[str], words: list[str]) -> None:
    said = refused("cost", *arguments)
    for word in words:
        assert word in said


def test_cost_of_a_file_takes_no_width(refused: Refused) -> None:
    assert refused("cost", architecture_file(lambda data: None), "--width", "2").startswith("--width: an architecture")


def test_lists_name_everything_that_a_config_can(capsys: pytest.CaptureFixture[str]) -> None:
    for what, names in (
        ("operators", [*operators, "skip"]),
        ("baselines", list(baselines())),
        ("strategies", [*STRATEGIES, "trials = 100", "temperature_first = 1.0"]),
        ("presets", ["paper", "kernels", "full", "xsep_k5"]),
        ("macros", ["mobilenetv1", "mobilenetv3-small", "at 224 pixels, 1000 classes"]),
        ("recipes", list(RECIPES)),
        ("datasets", ["digits"]),
    ):
        assert main(["list", what]) == 0
        said = capsys.readouterr().out
        for name in names:
            assert name in said
    assert "'models'" in _complaint(["list", "models"], capsys)


def test_a_strategy_is_listed_with_the_options_that_it_can_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "strategies"]) == 0
    by_strategy: dict[str, list[str]] = {}
    name = ""
    for line in capsys.readouterr().out.splitlines():
        if not line.startswith(" "):
            name = line.split()[0]
        elif " = " in line:
            by_strategy.setdefault(name, []).append(line.split()[0])
    assert "sampling" in by_strategy["evolution"]
    assert "rungs" in by_strategy["halving"]
    assert not {"sampling", "supernet_for", "calibration_images"} & set(by_strategy["halving"])


def _complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err


def test_a_bench_needs_a_round(refused: Refused) -> None:
    assert refused("bench", "--repeats", "0") == "--repeats: 0 must be a whole number of at least 1"
