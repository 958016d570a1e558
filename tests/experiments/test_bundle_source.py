"""``model.py``: source of one network that needs torch alone and computes the same."""

from __future__ import annotations

import ast
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.architectures import OPERATORS, architectures, random_architectures, settled
from hypothesis import given, settings
from safetensors.torch import save_file
from torch import nn

from experiments.bundle import layers
from experiments.bundle.check import Checker, Sample
from experiments.bundle.expressions import expression
from experiments.bundle.source import features, source
from search_space import Architecture, baseline, baselines, build, macro, parse, save_weights
from search_space.base.errors import InvalidRequest
from search_space.macros import MACROS

BASELINES = {name: baseline(name, image_size=16, width=0.1) for name in baselines()} | {
    name: macro(name, image_size=16, width=0.25) for name in ("resnet-20", "wrn-16-4")
}
RANDOM = random_architectures()


def test_the_examples_have_every_operator_and_every_macro() -> None:
    used = {block.operator for architecture in RANDOM for block in architecture.blocks}
    assert set(OPERATORS) <= used
    deeper = {name for name in MACROS if name.startswith(("resnet-", "wrn-"))} - {"resnet-20", "wrn-16-4"}
    assert {architecture.macro for architecture in BASELINES.values()} == set(MACROS) - deeper


@pytest.mark.parametrize(
    "architecture", [*BASELINES.values(), *RANDOM], ids=[*BASELINES, *(f"random {k}" for k in range(len(RANDOM)))]
)
def test_the_source_of_every_network_computes_the_same(architecture: Architecture, tmp_path: Path) -> None:
    network, images = settled(architecture)
    save_weights(network, tmp_path / "weights.safetensors")
    (tmp_path / "model.py").write_text(source(architecture))
    checker = Checker(network, Sample(images, "test"))
    assert checker.expected.abs().max() > 0.05, "too small to tell"
    agreements = checker.compare_source(tmp_path / "model.py", tmp_path / "weights.safetensors")
    assert [one.form for one in agreements] == ["model.py", "model.py, batch norms folded", "model.py, feature maps"]
    folded = runpy.run_path(str(tmp_path / "model.py"))["load"](tmp_path / "weights.safetensors", fold=True)
    left = [layer for layer in folded.modules() if isinstance(layer, nn.BatchNorm2d)]
    in_front = [block for block in architecture.blocks if block.operator.startswith("preres")]
    # one of the two of such a block, and that of the head, lie behind no convolution
    assert len(left) == len(in_front) + architecture.head.norm_first


@given(architectures())
@settings(max_examples=25)
def test_the_source_of_any_network_has_its_parameters(architecture: Architecture) -> None:
    names: dict[str, Any] = {"__file__": "model.py", "__name__": "model"}
    exec(compile(source(architecture), "model.py", "exec"), names)
    with torch.device("meta"):
        ours, theirs = build(architecture), names["Network"]()
    shapes = [{name: value.shape for name, value in network.state_dict().items()} for network in (ours, theirs)]
    assert list(shapes[0].items()) == list(shapes[1].items())


def test_it_is_flat_and_tidy_and_imports_torch_alone(tmp_path: Path) -> None:
    """As our own linter and formatter see it."""
    for number, architecture in enumerate((BASELINES["mobilenetv3-small-xsep"], BASELINES["mobilenetv1"], *RANDOM)):
        text = source(architecture)
        (tmp_path / f"model{number}.py").write_text(text)
        nodes = list(ast.walk(ast.parse(text)))
        imported = {a.name.partition(".")[0] for node in nodes if isinstance(node, ast.Import) for a in node.names}
        imported |= {str(node.module).partition(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
        assert imported <= {"__future__", "collections", "hashlib", "pathlib", "torch", "safetensors"}
        for block in architecture.blocks:
            assert f": {block}, on a map of" in text
        defined = {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)}
        assert ("SqueezeExcite" in defined) is any(block.se_channels for block in architecture.blocks)
    config = Path(__file__).parents[2] / "pyproject.toml"
    for command in (["check"], ["format", "--diff"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "--config", str(config), str(tmp_path)]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_it_serves_as_a_backbone_for_images_of_any_size(tmp_path: Path) -> None:
    architecture = parse("m 3x32x32 5 | stem c4 s2 relu | sep_k3 c6 s2 relu | skip c6 | sep_k3 c8 s2 relu | head relu")
    (tmp_path / "model.py").write_text(source(architecture))
    save_weights(build(architecture), tmp_path / "weights.safetensors")
    names = runpy.run_path(str(tmp_path / "model.py"))
    backbone = names["load"](features_only=True)
    assert backbone.head is None
    assert [tuple(entry.values()) for entry in backbone.feature_info] == [
        (4, 2, "stem"),
        (6, 4, "blocks.1"),
        (8, 8, "blocks.2"),
    ]
    with torch.inference_mode():
        maps = backbone(torch.zeros(2, 3, 64, 48))
        whole = names["load"]()
        for one, same in zip(maps, whole.forward_features(torch.zeros(2, 3, 64, 48)), strict=True):
            assert torch.equal(one, same)
    assert [tuple(one.shape) for one in maps] == [(2, 4, 32, 24), (2, 6, 16, 12), (2, 8, 8, 6)]
    assert [one.block for one in features(architecture)] == [-1, 1, 2]


def test_weights_with_a_flipped_bit_are_refused_and_those_without_a_checksum_taken(tmp_path: Path) -> None:
    architecture = parse("m 1x8x8 2 | stem c4 s2 relu | sep_k3 c6 s1 relu | head relu")
    (tmp_path / "model.py").write_text(source(architecture))
    network, weights = build(architecture), tmp_path / "weights.safetensors"
    save_weights(network, weights)
    load = runpy.run_path(str(tmp_path / "model.py"))["load"]
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.safetensors is damaged: its values are not those that were"):
        load()
    save_file(network.state_dict(), weights)
    assert torch.equal(load().state_dict()["stem.conv.weight"], network.state_dict()["stem.conv.weight"])


def test_an_operator_of_ones_own_is_written_if_torchs_layers_make_it() -> None:
    dilated = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4, bias=False)
    others = nn.Conv2d(4, 8, (1, 3), (2, 1), padding="valid"), nn.Conv2d(8, 4, 3, padding=1, padding_mode="reflect")
    layers_behind = nn.MaxPool2d(2, ceil_mode=True), nn.Flatten(), nn.Linear(4, 3, bias=False), nn.LeakyReLU(0.2)
    module = nn.Sequential(dilated, nn.BatchNorm2d(4), nn.ELU(), *others, *layers_behind)
    made = eval(str(expression(module)), {"nn": nn, "series": layers.series})
    assert repr(made) == repr(module)

    class Twice(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    with pytest.raises(InvalidRequest, match=r"formats: source cannot say how .*Twice is made; leave it out, or"):
        expression(nn.Sequential(Twice()))
