"""Weights on disk: round trips, and files that do not fit."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from search_space import (
    Architecture,
    Block,
    Head,
    InvalidRequest,
    Network,
    SearchSpace,
    Stem,
    build,
    load_network,
    load_weights,
    save_architecture,
    save_weights,
)
from search_space.space import SepConvSpace
from search_space.weights import read_weights, save_tensors

BLOCKS = (Block("xsep_k3", 4, 4, expanded_channels=8, se_channels=2, residual=True), Block("bsconv_s_k3", 4, 6, 2))
ARCHITECTURE = Architecture("m", 6, 1, 3, Stem(4, 1), BLOCKS, Head(8, 0))


def trained(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with random values in every parameter and buffer, the batch norms' counters included."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator))
        else:
            tensor.fill_(int(torch.randint(1, 100, (), generator=generator)))
    return module


def small_space() -> SepConvSpace:
    return SepConvSpace(SearchSpace.create(image_size=8, width=0.25, operators=("dw_k3", "xsep_k3", "sep_k3", "skip")))


def assert_same_state(one: nn.Module, other: nn.Module) -> None:
    left, right = one.state_dict(), other.state_dict()
    assert list(left) == list(right)
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name


def test_network_round_trips_bit_for_bit(tmp_path: Path) -> None:
    network = trained(build(ARCHITECTURE))
    save_weights(network, tmp_path / "w.safetensors")
    again = build(ARCHITECTURE)
    load_weights(again, tmp_path / "w.safetensors")
    assert_same_state(network, again)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_supernet_round_trips_and_keeps_its_modules_shared(tmp_path: Path) -> None:
    space = trained(small_space())
    save_weights(space, tmp_path / "w.safetensors")
    again = trained(small_space(), seed=1)
    load_weights(again, tmp_path / "w.safetensors")
    assert_same_state(space, again)
    candidates = again.blocks[0]
    assert candidates["dw_k3"].project is candidates["xsep_k3"].project


def test_supernet_writes_shared_tensors_once(tmp_path: Path) -> None:
    space = small_space()
    save_weights(space, tmp_path / "w.safetensors")
    written = safetensors.torch.load_file(tmp_path / "w.safetensors")
    floats = sum(tensor.numel() for tensor in written.values() if tensor.is_floating_point())
    running = {id(b): b.numel() for b in space.buffers() if b.is_floating_point()}
    assert floats == sum(p.numel() for p in space.parameters()) + sum(running.values())
    assert len(written) < len(space.state_dict())


def test_failed_write_leaves_the_older_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(trained(build(ARCHITECTURE)), path)
    before = path.read_bytes()

    def fail(source: object, target: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_weights(trained(build(ARCHITECTURE), seed=1), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def refusal(network: Network, path: Path) -> str:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(InvalidRequest) as caught:
        load_weights(network, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    return str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    assert refusal(build(ARCHITECTURE), tmp_path / "none") == f"weights: {tmp_path / 'none'} does not exist"
    assert refusal(build(ARCHITECTURE), tmp_path) == f"weights: {tmp_path} is not a file"


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_damaged_files_are_named(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(build(ARCHITECTURE), path)
    path.write_bytes(path.read_bytes()[:keep])
    message = refusal(build(ARCHITECTURE), path)
    assert message.startswith(f"weights: {path} is damaged or not a safetensors file (")


@pytest.mark.parametrize("at", [-1, -200, -2000])
def test_a_flipped_bit_is_seen(at: int, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(trained(build(ARCHITECTURE)), path)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    damage = "is damaged: its values are not those that were written; create or copy it again"
    assert refusal(build(ARCHITECTURE), path) == f"weights: {path} {damage}"


def test_files_of_others_have_no_checksum(tmp_path: Path) -> None:
    one, other, path = trained(build(ARCHITECTURE)), build(ARCHITECTURE), tmp_path / "w.safetensors"
    safetensors.torch.save_file(one.state_dict(), path)
    load_weights(other, path)
    assert_same_state(other, one)


def test_all_types_and_shapes_have_a_checksum(tmp_path: Path) -> None:
    kinds = (torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.bool)
    tensors = {str(kind): torch.ones(2, 3).to(kind) for kind in kinds}
    tensors |= {"none": torch.zeros(0, 3), "scalar": torch.tensor(1.5), "turned": torch.rand(3, 2).T}
    save_tensors(tensors, tmp_path / "w.safetensors")
    again = read_weights(tmp_path / "w.safetensors")
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())


def test_pickles_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    torch.save(build(ARCHITECTURE).state_dict(), path)
    assert "is damaged or not a safetensors file" in refusal(build(ARCHITECTURE), path)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (replace(ARCHITECTURE, classes=5), "head.classifier.weight is of shape (3, 8), not (5, 8)"),
        (replace(ARCHITECTURE, head=Head(8, 5)), "head.features.0.weight is missing"),
        (replace(ARCHITECTURE, head=Head(0, 0)), "head.classifier.weight is of shape (3, 8), not (3, 6)"),
        (replace(ARCHITECTURE, blocks=(Block("skip", 4, 4), BLOCKS[1])), "blocks.0.expand.conv.weight is unknown to"),
        (ARCHITECTURE.with_operators({0: "dw_k3"}), "blocks.0.spatial.conv.weight is missing"),
    ],
)
def test_weights_of_another_architecture_are_refused_whole(other: Architecture, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(trained(build(ARCHITECTURE)), path)
    assert refusal(build(other), path).startswith(f"weights: {path} is of another architecture: {reason}")


def test_network_is_loaded_from_a_folder_ready_to_use(tmp_path: Path) -> None:
    network = trained(build(ARCHITECTURE)).eval()
    save_architecture(ARCHITECTURE, tmp_path / "architecture.json")
    save_weights(network, tmp_path / "weights.safetensors")
    again = load_network(tmp_path)
    assert not again.training
    assert again.architecture == ARCHITECTURE
    x = torch.randn(2, 1, 6, 6)
    assert torch.equal(again(x), network(x))


def test_folders_without_a_network_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"^architecture file .*architecture\.json: does not exist$"):
        load_network(tmp_path)
    save_architecture(ARCHITECTURE, tmp_path / "architecture.json")
    with pytest.raises(InvalidRequest, match=r"^weights: .*weights\.safetensors does not exist$"):
        load_network(str(tmp_path))
