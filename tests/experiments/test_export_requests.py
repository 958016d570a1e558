"""What is exported, and what is refused: trainings, bundles, architectures with and without weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.commands import Refused, architecture_file, network, write
from helpers.runs import contents
from helpers.trainings import files
from huggingface_hub import ModelCard

from experiments.bundle.check import IMAGES
from experiments.cli import main
from search_space import build, load_architecture, save_architecture, save_weights

ALWAYS = {"architecture.json", "weights.safetensors", "preprocessing.json", "training.json", "model_card.md"}
FAST = ("--formats", "source")


@pytest.fixture(scope="module")
def bundle(compared: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with as little as possible."""
    to = tmp_path_factory.mktemp("bundle") / "to"
    assert main(["export", str(compared[0]), "--to", str(to), *FAST]) == 0
    return to


# --- weights of which less is known ---


def test_without_the_images_forms_are_compared_on_random_ones(
    bundle: Path, tmp_path: Path, refused: Refused, said: Any
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(bundle, moved)
    training = json.loads((moved / "training.json").read_text())
    training["data"]["name"] = str(tmp_path / "gone")
    (moved / "training.json").write_text(json.dumps(training))
    assert f"agrees with the trained network on {IMAGES} random inputs" in said("export", moved, "--to", "to", *FAST)
    assert f"Each form was run on {IMAGES} random inputs (normal, seed 0)" in Path("to/model_card.md").read_text()
    told = refused("export", moved, "--to", "other", "--formats", "onnx", "--int8")
    assert told.startswith("int8: needs the images of the training; data")


def test_an_architecture_alone_is_exported_only_when_asked(refused: Refused, said: Any) -> None:
    target = architecture_file(lambda data: None)
    assert refused("export", target, "--to", "x") == (
        "target: a.json has no weights.safetensors beside it; train it with `sepnas retrain ARCH.json --out FOLDER` and"
        " export FOLDER, or export it with --untrained"
    )
    for seed in (0, 0, 1):
        said("export", target, "--to", f"to{seed}", *FAST, "--untrained", "--seed", seed, "--overwrite")
    assert files(Path("to0")) == ALWAYS - {"training.json"} | {"model.py"}
    text = Path("to0/model_card.md").read_text()
    assert "**Not trained: its weights are the initial ones.**" in text
    assert "model-index" not in ModelCard(text).data.to_dict()
    weights = [Path(f"to{seed}/weights.safetensors").read_bytes() for seed in (0, 1)]
    assert weights[0] != weights[1]
    assert "normalise as in the training of the weights, which is not known" in text
    assert refused("predict", "to0", "a.json").startswith("mean: unknown, as the weights came without")
    assert "training.json cannot be read" in refused("evaluate", "to0")


def test_weights_beside_an_architecture_are_taken(refused: Refused, said: Any) -> None:
    architecture = network()
    save_architecture(architecture, "net.json")
    save_weights(build(architecture), "weights.safetensors")
    said("export", "net.json", "--to", "to", *FAST)
    assert Path("to/weights.safetensors").read_bytes() == Path("weights.safetensors").read_bytes()
    assert "Not known: the weights came without a record of it." in Path("to/model_card.md").read_text()
    assert "seed: 3, but weights.safetensors comes from one training" in refused(
        "export", "net.json", "--to", "x", "--seed", 3
    )
    save_architecture(network(width=0.5), "net.json")
    assert "weights: weights.safetensors is of another architecture" in refused("export", "net.json", "--to", "x")
    write("no tensors", "weights.safetensors")
    assert "weights.safetensors is damaged" in refused("export", "net.json", "--to", "x")


def test_a_card_says_where_fine_tuning_began(bundle: Path, tmp_path: Path, said: Any) -> None:
    tuned = tmp_path / "tuned"
    shutil.copytree(bundle, tuned)
    training = json.loads((tuned / "training.json").read_text())
    (tuned / "training.json").write_text(json.dumps({**training, "starts_from": "abc"}))
    said("export", tuned, "--to", tmp_path / "to", *FAST)
    text = (tmp_path / "to" / "model_card.md").read_text()
    assert "started from the weights of another training, whose hash is abc" in text
    assert "another training" not in (bundle / "model_card.md").read_text()


def test_the_architecture_of_a_training_stands_for_it(compared: tuple[Path, Path], tmp_path: Path, said: Any) -> None:
    home = compared[0] / "retrain" / "winner"
    said("export", home / "architecture.json", "--to", tmp_path / "one", *FAST, "--seed", 1)
    said("export", home, "--to", tmp_path / "other", *FAST, "--seed", 1)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


# --- what is refused ---


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--formats", "onxx"), "formats: 'onxx' is unknown; known are source, pt2, onnx, all; did you mean onnx?"),
        (("--formats", "source,all"), "formats: 'all' is unknown; known are source, pt2, onnx"),
        (("--formats", "pt2,pt2"), "formats: 'pt2,pt2' names one twice"),
        (("--formats", ""), "formats: '' is unknown"),
        (("--int8",), "int8: is made from model.onnx, which is not asked for; give --formats onnx or all"),
        (("--untrained",), "is not an architecture file; leave it out, or give one"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    compared: tuple[Path, Path], refused: Refused, options: tuple[str, ...], told: str
) -> None:
    assert told in refused("export", compared[0], "--to", "x", *options)


def test_a_damaged_record_of_the_training_is_named(bundle: Path, tmp_path: Path, refused: Refused) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    good = json.loads((broken / "training.json").read_text())
    for change in ({"recipe": 3}, {"test_accuracies": {}}, {"test_accuracies": {"0": 7}}, {"seconds": None}):
        (broken / "training.json").write_text(json.dumps({**good, **change}))
        assert "training.json is damaged (ValueError" in refused("export", broken, "--to", "x")
    assert "seed: 0, but" in refused("export", bundle, "--to", "x", "--seed", 0)


def test_missing_packages_are_named(
    compared: tuple[Path, Path], refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    import experiments.bundle.programs as programs

    monkeypatch.setattr(programs, "find_spec", lambda name: None if name == "onnxscript" else name)
    told = refused("export", compared[0], "--to", "x", "--formats", "all")
    assert told == "formats: onnx needs onnxscript; pip install 'sepnas[onnx]', or leave it out"


def test_outputs_that_are_not_finite_are_refused(compared: tuple[Path, Path], tmp_path: Path, refused: Refused) -> None:
    home = tmp_path / "net"
    shutil.copytree(compared[0] / "retrain" / "winner", home)
    network = build(load_architecture(home / "architecture.json"))
    torch.nn.init.constant_(network.head.classifier.bias, float("nan"))
    save_weights(network, home / "seed0" / "weights.safetensors")
    assert "outputs are not finite numbers" in refused("export", home, "--to", "x", *FAST, loads=True)


def test_a_model_of_ones_own_has_no_architecture_to_export(refused: Refused) -> None:
    write(json.dumps({"format": "sepnas-own-model", "version": 1}), "own.json")
    assert refused("export", "own.json", "--to", "x").endswith(
        "of another kind (sepnas-own-model); give an architecture"
    )
