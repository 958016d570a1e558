"""Files that want to run code, to hang whoever reads them, to grow without end, or to reach other places."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import shutil
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.commands import network
from helpers.images import grey_folder, noise_folder, splits
from helpers.searches import run as search
from helpers.trainings import RECIPE, make_run

from evaluators.data.images import ImageData
from evaluators.data.load import load_data
from evaluators.sources import cifar
from experiments.cli import main
from search_space.base.errors import InvalidRequest
from search_space.base.reading import parse_yaml
from search_space.serialization import save_architecture, to_json

RETRAIN = ["--recipe.epochs", "2", "--recipe.batch_size", "32", "--recipe.warmup_epochs", "0", "--seeds", "[0]"]


def said(capsys: pytest.CaptureFixture[str], *command: object) -> str:
    """What a command is refused with: one short line."""
    capsys.readouterr()
    code = main([str(argument) for argument in command])
    line = capsys.readouterr().err.replace("\r", "\n").rstrip("\n").rpartition("\n")[2]
    assert code == 2, line
    assert line.startswith("sepnas: ")
    assert line.isprintable()
    assert len(line) <= 300
    return line


# --- pickles ---


class Malicious:
    """Unpickled, it leaves a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.proof),)


def pickles(proof: Path) -> dict[str, bytes]:
    """The malicious object as Python and as torch write it."""
    archive = io.BytesIO()
    torch.save({"state_dict": Malicious(proof)}, archive)
    return {"pickle": pickle.dumps(Malicious(proof)), "torch": archive.getvalue()}


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A search that can go on, a bundle, images."""
    home = tmp_path_factory.mktemp("hostile")
    evolution = search(home, "evolution", name="evolution")
    (evolution / "winner.json").unlink()
    trained = make_run(home / "run", retrain={"recipe": RECIPE, "seeds": [0]})
    assert main(["retrain", str(trained)]) == 0
    assert main(["export", str(trained), "--to", str(home / "bundle"), "--formats", "source"]) == 0
    return {"home": home, "evolution": evolution, "run": trained, "bundle": home / "bundle"}


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_nothing_that_is_handed_over_is_unpickled(
    kind: str,
    homes: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    proof = tmp_path / "proof"
    content = pickles(proof)[kind]
    evil = tmp_path / "evil"
    home, folder = homes["home"], tmp_path / "class"
    for name in ("evil.json", "evil.yaml", "evil.mat", "train_32x32.mat", "evil.parquet", "data_batch_1.bin", "evil"):
        (tmp_path / name).write_bytes(content)
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        (folder / label / "evil.png").write_bytes(content)
    commands: list[list[object]] = [
        ["cost", tmp_path / "evil.json"],
        ["search", tmp_path / "evil.yaml", "--out", tmp_path / "x"],
        ["search", "digits", "--out", tmp_path / "x", "--space.macro", tmp_path / "evil.yaml"],
        ["search", "digits", "--out", tmp_path / "x", "--costs", tmp_path / "evil.json"],
        *(
            ["search", "digits", "--out", tmp_path / "x", "--data.name", tmp_path / data]
            for data in ("train_32x32.mat", "evil.mat", "evil.parquet", "evil", "class")
        ),
    ]
    for command in commands:
        said(capsys, *command)
    # in the place of each file of runs and bundles that is read
    for path, *command in [
        (
            homes["evolution"] / "search" / "supernet.safetensors",
            "search",
            home / "evolution.yaml",
            "--resume",
            "--out",
            homes["evolution"],
        ),
        (homes["evolution"] / "config.yaml", "pareto", homes["evolution"]),
        (homes["evolution"] / "architectures.csv", "pareto", homes["evolution"]),
        *(
            (homes["bundle"] / name, "evaluate", homes["bundle"])
            for name in ("weights.safetensors", "architecture.json", "preprocessing.json", "training.json")
        ),
        (homes["run"] / "retrain" / "winner" / "about.json", "retrain", homes["run"]),
        (homes["run"] / "retrain" / "winner" / "seed0" / "result.json", "retrain", homes["run"]),
    ]:
        before = path.read_bytes()
        path.write_bytes(content)
        try:
            said(capsys, *command)
        finally:
            path.write_bytes(before)
    # the resume point of a training, and decoded images: both are made anew, or refused
    begun = make_run(tmp_path / "begun", retrain={"recipe": RECIPE, "seeds": [0]})
    point = begun / "retrain" / "winner" / "seed0" / "last.ckpt"
    assert main(["retrain", str(begun)]) == 0
    (point.parent / "result.json").unlink()
    point.write_bytes(content)
    said(capsys, "retrain", begun)
    monkeypatch.setenv("SEPNAS_CACHE", str(tmp_path / "cache"))
    images = grey_folder(tmp_path / "images")
    load_data(str(images), image_size=4)
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(content)
    assert len(load_data(str(images), image_size=4).train) > 0
    assert not proof.exists()
    assert not evil.is_dir()


# --- pipes, devices, bombs ---


def test_pipes_and_devices_are_refused_and_hang_nobody(
    homes: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("pipe.json", "pipe.yaml", "pipe"):
        os.mkfifo(tmp_path / name)
    commands = [
        ["cost", tmp_path / "pipe.json"],
        ["describe", "/dev/zero"],
        ["search", tmp_path / "pipe.yaml", "--out", tmp_path / "x"],
        ["search", "digits", "--out", tmp_path / "x", "--data.name", tmp_path / "pipe"],
        ["search", "digits", "--out", tmp_path / "x", "--data.name", "/dev/zero"],
        ["search", "digits", "--out", tmp_path / "x", "--space.macro", tmp_path / "pipe.yaml"],
        ["search", "digits", "--out", tmp_path / "x", "--costs", tmp_path / "pipe.json"],
        ["search", "digits", "--out", tmp_path / "pipe"],
        ["retrain", tmp_path / "pipe.json", "--out", tmp_path / "x"],
        ["evaluate", tmp_path / "pipe"],
        ["predict", homes["bundle"], tmp_path / "pipe"],
        ["predict", homes["bundle"], "/dev/zero"],
    ]
    for command in commands:
        said(capsys, *command)


@pytest.mark.parametrize("kind", ["pipe", "device", "bomb"])
def test_what_is_no_image_is_named_and_can_be_left_out(kind: str, tmp_path: Path) -> None:
    images = grey_folder(tmp_path / "images")
    bad = images / "cat" / "bad.png"
    if kind == "pipe":
        os.mkfifo(bad)
    elif kind == "device":
        bad.symlink_to("/dev/zero")
    else:
        bad.write_bytes(png_bomb(60_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidRequest, match=r"bad\.png"):
        read_all(load_data(str(images), image_size=4, cache=False))
    with pytest.raises(InvalidRequest, match=r"bad\.png"):
        read_all(load_data(str(images), image_size=4, where="stream"))
    data = load_data(str(images), image_size=4, on_corrupt="skip", cache=False)
    _ = data.test
    assert data.skipped == (str(bad),)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def read_all(data: ImageData) -> None:
    for split in splits(data).values():
        split.gather(torch.arange(len(split)))


def png_bomb(side: int) -> bytes:
    """A black image whose pixels take some kilobytes packed and gigabytes unpacked."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = bytes(1 + (side + 7) // 8)
    packed = zlib.compress(row * 1000, 9)  # enough of them: the size alone must be refused
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "_LARGEST", 1_000_000)
    path = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("../../data_batch_1.bin")
        member.size = 2_000_000
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(InvalidRequest, match="unpacks to more than"):
        load_data(str(path))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


BOMBS = {
    "aliases": "\n".join(
        ["a0: &a0 [x, x]", *(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]" for n in range(20)), "seed: *a20"]
    ),
    "merged": "\n".join(
        ["a0: &a0 {x: 1}", *(f"a{n + 1}: &a{n + 1} {{<<: [{', '.join([f'*a{n}'] * 9)}]}}" for n in range(20))]
    ),
    "endless": "seed: &a [*a]",
    "deep": "seed: " + "[" * 50_000,
    "steps": "\n".join(f"{' ' * n}a:" for n in range(300)) + "\n" + " " * 300 + "b",
    "long": "seed: 1 # " + "x" * 200_000,
    "number": "seed: " + "9" * 90_000,
    "object": "seed: !!python/object/apply:os.mkdir [proof]",
}


@pytest.mark.parametrize("name", BOMBS)
def test_yaml_that_grows_or_runs_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bomb.yaml").write_text(BOMBS[name])
    said(capsys, "search", "bomb.yaml", "--out", "x")
    said(capsys, "search", "digits", "--out", "x", "--space.macro", "bomb.yaml")
    said(capsys, "search", "digits", "--out", "x", "--strategy.options", BOMBS[name].replace("seed: ", "", 1))
    assert [path.name for path in tmp_path.iterdir()] == ["bomb.yaml"]


def test_aliases_and_merged_keys_are_read() -> None:
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1}}
    assert parse_yaml("") is None


# --- paths ---


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/b", "..\\evil"])
def test_names_in_an_architecture_lead_nowhere(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for change in ({"macro": name}, {"blocks": [{**to_json(network())["blocks"][0], "operator": name}]}):
        (tmp_path / "a.json").write_text(json.dumps({**to_json(network()), **change}))
        said(capsys, "export", tmp_path / "a.json", "--to", tmp_path / "bundle", "--untrained")
        said(capsys, "retrain", tmp_path / "a.json", "--out", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_links_in_a_folder_are_replaced_and_not_followed(homes: dict[str, Path], tmp_path: Path) -> None:
    precious, bundle = tmp_path / "precious", tmp_path / "bundle"
    (precious / "folder").mkdir(parents=True)
    (precious / "weights.safetensors").write_text("dear diary")
    bundle.mkdir()
    (bundle / "weights.safetensors").symlink_to(precious / "weights.safetensors")
    (bundle / "model.py").symlink_to(precious / "folder")
    assert main(["export", str(homes["run"]), "--to", str(bundle), "--overwrite", "--formats", "source"]) == 0
    assert (precious / "weights.safetensors").read_text() == "dear diary"
    assert (precious / "folder").is_dir()
    assert not (bundle / "weights.safetensors").is_symlink()


def test_an_onnx_model_reads_no_other_file(
    homes: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = pytest.importorskip("onnx")
    bundle = tmp_path / "deep" / "bundle"
    shutil.copytree(homes["bundle"], bundle)
    image = next(noise_folder(tmp_path / "images", 1, size=(8, 8)).rglob("*.png"))
    number, shape = onnx.TensorProto.FLOAT, onnx.helper.make_tensor_value_info
    weight = onnx.helper.make_tensor("weight", number, (64, 10), bytes(4 * 640), raw=True)
    nodes = [
        onnx.helper.make_node("Flatten", ["images"], ["flat"]),
        onnx.helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
    ]
    ends = [shape("images", number, ("batch", 1, 8, 8))], [shape("logits", number, ("batch", 10))]

    def write(*initializers: Any) -> None:
        graph = onnx.helper.make_graph(nodes, "g", *ends, initializers)
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)
        (bundle / "model.onnx").write_bytes(model.SerializeToString())

    write(weight)
    assert main(["predict", str(bundle), str(image), "--runtime", "onnx"]) == 0
    (tmp_path / "secret").write_bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for location in ("../../secret", str(tmp_path / "secret")):
        del weight.external_data[:]
        for key, value in {"location": location, "offset": "0", "length": "2560"}.items():
            entry = weight.external_data.add()
            entry.key, entry.value = key, value
        write(weight)
        said(capsys, "predict", bundle, image, "--runtime", "onnx")


# --- names that are to be printed ---


def test_control_characters_in_names_reach_neither_terminal_nor_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = ("\x1b[31mred\x07", "two\nlines\r", "bell\x9b5m")
    images = noise_folder(tmp_path / "im\x1b[1mages", 12, classes, size=(8, 8))
    (images / classes[0] / "bad\x1b]0;title\x07.png").write_bytes(b"no image")
    save_architecture(network(in_channels=3, classes=3), tmp_path / "a.json")
    out, bundle = tmp_path / "out", tmp_path / "bundle"
    data = ["--data.name", str(images), "--data.image_size", "8", "--data.on_corrupt", "skip"]
    shown = []
    for command in (
        ["retrain", tmp_path / "a.json", "--out", out, *RETRAIN, "--trackers", "[]", *data],
        ["evaluate", out, "--out", tmp_path / "evaluation"],
        ["export", out, "--to", bundle, "--formats", "source"],
        ["predict", bundle, images / classes[1] / "000.png"],
        ["compare", out, "--out", tmp_path / "comparison"],
    ):
        capsys.readouterr()
        assert main([str(argument) for argument in command]) == 0, capsys.readouterr().err
        printed = capsys.readouterr()
        shown += [printed.out, printed.err.replace("\r", "\n")]
    for path in (*bundle.glob("*.md"), *bundle.glob("*.py"), *(tmp_path / "comparison").glob("*.md")):
        shown.append(path.read_text())
    for path in (tmp_path / "comparison").glob("*.html"):
        shown.append(path.read_text())
    for text in shown:
        assert all(char in "\n\t" or char.isprintable() for char in text), text[:500]
    assert said(capsys, "predict", bundle, images / classes[0] / "bad\x1b]0;title\x07.png")
