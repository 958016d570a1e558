"""``sepnas predict``: pictures classified by a bundle, of which no code is run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.commands import Refused
from PIL import Image

from evaluators.augment.augmentation import normalise
from evaluators.augment.crops import centre
from evaluators.data.decode import square
from experiments.bundle.predict import predict
from experiments.cli import main
from search_space import load_network, parse, save_architecture

ARCHITECTURE = parse("m 3x8x8 4 | stem c4 s1 relu | dw_k3 e8 c6 s2 relu | head relu")
CLASSES = ["ant", "bee", "cat", "dog \x1b[2J"]
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network of pictures of 10 pixels, of which it sees 8, in every form that predictions use."""
    folder = tmp_path_factory.mktemp("made")
    save_architecture(ARCHITECTURE, folder / "a.json")
    options = ("--formats", "source,onnx", "--untrained")
    assert main(["export", str(folder / "a.json"), "--to", str(folder / "bundle"), *options]) == 0
    path = folder / "bundle" / "preprocessing.json"
    known = {"classes": CLASSES, "mean": MEAN, "std": STD, "stored_size": 10}
    path.write_text(json.dumps({**json.loads(path.read_text()), **known}))
    # would end whoever runs it
    (folder / "bundle" / "model.py").write_text("raise SystemExit('model.py was run')")
    return folder / "bundle"


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "bundle"))


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Pictures of different sizes and kinds."""
    rng = np.random.default_rng(0)
    paths = []
    for number, shape in enumerate([(9, 11, 3), (40, 13), (8, 8, 4), (200, 300, 3)]):
        paths.append(tmp_path / f"image {number}.png")
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(paths[-1])
    return paths


def expected(bundle: Path, images: list[Path]) -> torch.Tensor:
    """Probabilities by the training's own way to prepare images."""
    pixels = []
    for path in images:
        with Image.open(path) as image:
            pixels.append(torch.from_numpy(square(image, 10, 3).copy()))
    with torch.inference_mode():
        return load_network(bundle)(normalise(centre(torch.stack(pixels), (8, 8)), MEAN, STD)).double().softmax(1)


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_pictures_are_prepared_as_in_training(runtime: Any, bundle: Path, images: list[Path]) -> None:
    wanted = expected(bundle, images)
    for one, row in zip(predict(bundle, images, runtime=runtime), wanted, strict=True):
        order = row.argsort(descending=True).tolist()
        assert one.classes == tuple(CLASSES[index] for index in order)
        assert one.probabilities == pytest.approx(sorted(row.tolist(), reverse=True), abs=1e-6)


def test_the_best_classes_are_printed(bundle: Path, images: list[Path], said: Any) -> None:
    lines = said("predict", bundle, *images, "--top", 1).splitlines()
    for line, path, row in zip(lines, images, expected(bundle, images), strict=True):
        best = CLASSES[int(row.argmax())].replace("\x1b", "\\x1b")
        assert line == f"{path}: {best} {float(row.max()):.1%}"
    told = json.loads(said("predict", bundle, images[1], "--json", "--top", 2))
    assert [one["image"] for one in told] == [str(images[1])]
    assert len(told[0]["predictions"]) == 2
    assert set(told[0]["predictions"][0]) == {"class", "probability"}
    assert len(json.loads(said("predict", bundle, images[1], "--json"))[0]["predictions"]) == len(CLASSES)


def test_many_pictures_are_classified_in_batches(bundle: Path, images: list[Path]) -> None:
    few, many = predict(bundle, images), predict(bundle, images * 40)
    assert [one.image for one in many] == [one.image for one in few] * 40
    assert many[-1].classes == few[-1].classes
    assert many[-1].probabilities == pytest.approx(few[-1].probabilities, abs=1e-6)


# --- what is refused ---


def test_pictures_that_cannot_be_read_are_named(bundle: Path, images: list[Path], refused: Refused) -> None:
    images[1].write_bytes(images[1].read_bytes()[:60])
    assert "image 1.png cannot be read (" in refused("predict", bundle, *images)
    assert refused("predict", bundle, images[0], "gone.png") == "image: gone.png does not exist"
    assert "bundle cannot be read (Is a directory); leave it out" in refused("predict", bundle, bundle)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_damaged_or_foreign_bundle_is_refused(bundle: Path, images: list[Path], refused: Refused) -> None:
    known, weights = bundle / "preprocessing.json", bundle / "weights.safetensors"
    good = {path: path.read_bytes() for path in bundle.iterdir()}

    def told(runtime: str = "torch") -> str:
        line = refused("predict", bundle, images[0], "--runtime", runtime)
        for path, content in good.items():
            path.write_bytes(content)
        return line

    known.write_text("{")
    assert "preprocessing.json is damaged" in told()
    for wrong in (
        {"std": [0, 1, 1]},
        {"mean": [1]},
        {"channels": 2},
        {"stored_size": 4},
        {"mean": None},
        {"classes": 7},
    ):
        change(known, **wrong)
        assert "preprocessing.json is damaged" in told()
    change(known, mean=None, std=None)
    assert told().startswith("mean: unknown")
    change(known, classes=["a", "b"])
    assert "has an architecture.json and a preprocessing.json of different networks" in told()
    change(known, classes=["a", "b"])
    assert "model.onnx is not of this network" in told("onnx")
    weights.write_bytes(b"\x80\x04N.")  # a pickle
    assert "weights.safetensors is damaged or not a safetensors file" in told()
    (bundle / "architecture.json").write_text("[]")
    assert "architecture" in told()
    (bundle / "model.onnx").write_bytes(good[bundle / "model.onnx"][:1000])
    assert "model.onnx cannot be loaded" in told("onnx")
    assert "runtime: int8, but" in told("int8")
    weights.unlink()
    assert refused("predict", bundle, images[0]).startswith("bundle: ")
    assert refused("predict", "nowhere", images[0]).startswith("bundle: nowhere is not one")


def test_what_cannot_be_named_is_refused(bundle: Path, images: list[Path], refused: Refused) -> None:
    assert refused("predict", bundle, images[0], "--top", 5) == "top: 5 must be a whole number from 1 to 4"
    assert "runtime: 'tf' is unknown" in refused("predict", bundle, images[0], "--runtime", "tf")
    assert "required: images" in refused("predict", bundle)


def test_outputs_that_are_not_finite_are_refused(bundle: Path, images: list[Path], refused: Refused) -> None:
    from search_space import build, save_weights

    network = build(ARCHITECTURE)
    torch.nn.init.constant_(network.head.classifier.bias, float("nan"))
    save_weights(network, bundle / "weights.safetensors")
    assert "gives outputs that are not finite numbers" in refused("predict", bundle, images[0])


def test_only_onnx_runtime_is_needed_to_run_an_onnx_model(
    bundle: Path, images: list[Path], said: Any, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    import experiments.bundle.programs as programs

    monkeypatch.setattr(programs, "find_spec", lambda name: name if name == "onnxruntime" else None)
    said("predict", bundle, images[0], "--runtime", "onnx")
    monkeypatch.setattr(programs, "find_spec", lambda name: None)
    told = refused("predict", bundle, images[0], "--runtime", "onnx")
    assert told == "runtime: onnx needs onnxruntime; pip install 'sepnas[onnx]', or leave it out"
