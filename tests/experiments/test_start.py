"""``sepnas retrain --from``: what a training starts from, how results of it are told apart, and what does not fit."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.commands import Refused, pictures
from helpers.searches import run as search
from safetensors.torch import load_file, save_file

from experiments.cli import main
from experiments.options.files import read_config
from experiments.runs.folder import RunFolder
from experiments.runs.task import SearchTask
from search_space.serialization import load_architecture
from search_space.space import SepConvSpace
from search_space.weights import load_weights

Said = Callable[..., str]

#: a training that changes next to nothing
SHORT = ["--recipe.epochs", "1", "--recipe.warmup_epochs", "0", "--recipe.learning_rate", "1e-7", "--seeds", "0"]
NETWORK = ["mobilenetv3-small", "--width", "0.25"]
DIGITS = ["--data.image_size", "8"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of `sepnas retrain --out`."""
    out = tmp_path_factory.mktemp("start") / "net"
    training = ["--recipe.epochs", "3", "--recipe.learning_rate", "0.05", "--seeds", "0"]
    assert main(["retrain", *NETWORK, "--out", str(out), *DIGITS, *training]) == 0
    return out


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with a supernet."""
    return RunFolder(search(tmp_path_factory.mktemp("super"), "evolution"))


def accuracy(folder: Path, seed: int = 0) -> float:
    return float(json.loads((folder / f"seed{seed}" / "result.json").read_text())["test_accuracy"])


def test_training_goes_on_from_the_weights_of_a_trained_network(trained: Path, tmp_path: Path, said: Said) -> None:
    forms = {"folder": trained, "seed": trained / "seed0", "file": trained / "seed0" / "weights.safetensors"}
    request = ["retrain", *NETWORK, *DIGITS, *SHORT]
    digests = set()
    for name, source in forms.items():
        told = said(*request, "--out", tmp_path / name, "--from", source)
        assert told.splitlines()[0] == f"starts from {source}"
        before, after = (load_file(folder / "seed0" / "weights.safetensors") for folder in (trained, tmp_path / name))
        # what is learnt has hardly moved
        for tensor in ("stem.conv.weight", "head.classifier.weight"):
            torch.testing.assert_close(after[tensor], before[tensor], atol=1e-4, rtol=1e-3)
        digests.add(json.loads((tmp_path / name / "about.json").read_text())["starts_from"])
    assert len(digests) == 1
    assert abs(accuracy(tmp_path / "folder") - accuracy(trained)) < 0.1
    # what is done is not done again
    again = said(*request, "--out", tmp_path / "file", "--from", forms["file"])
    assert again.splitlines()[0].startswith("starts from")
    assert "seed 0" not in again


def test_results_of_another_start_are_never_mixed(trained: Path, tmp_path: Path, said: Said, refused: Refused) -> None:
    request = ["retrain", *NETWORK, *DIGITS, *SHORT]
    said(*request, "--out", tmp_path / "tuned", "--from", trained)
    assert "starts_from was" in refused(*request, "--out", "tuned")
    other = load_file(trained / "seed0" / "weights.safetensors")
    other["stem.conv.weight"] += 1
    (tmp_path / "other").mkdir()
    save_file(other, tmp_path / "other" / "weights.safetensors")
    shutil.copy(trained / "architecture.json", tmp_path / "other")
    assert "starts_from was" in refused(*request, "--out", "tuned", "--from", "other")
    said(*request, "--out", tmp_path / "scratch")
    assert "starts_from" not in json.loads((tmp_path / "scratch" / "about.json").read_text())
    assert "starts_from was" in refused("compare", "tuned", "scratch", "--out", "report")
    # another seed of the same request joins, from the weights that the folder keeps
    first = tmp_path / "tuned" / "seed0" / "result.json"
    before = first.stat().st_mtime_ns
    assert "(n = 2," in said(*request, "--seeds", "0,1", "--out", tmp_path / "tuned", "--from", trained)
    assert first.stat().st_mtime_ns == before


def test_of_other_classes_the_classifier_is_new(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures("images", classes=3, n=10)
    data = ["--data.name", "images", "--data.image_size", "8"]
    told = said("retrain", trained / "architecture.json", "--out", "tuned", "--from", trained, *data, *SHORT)
    line = told.splitlines()[0]
    assert line.startswith(f"starts from {trained} with a new classifier, as the old one tells 0, 1, 2")
    assert line.endswith("apart and not class0, class1, class2")
    before, after = (load_file(folder / "seed0" / "weights.safetensors") for folder in (trained, Path("tuned")))
    assert after["head.classifier.weight"].shape == (3, before["head.classifier.weight"].shape[1])
    torch.testing.assert_close(after["stem.conv.weight"], before["stem.conv.weight"], atol=1e-4, rtol=1e-3)
    assert load_architecture(Path("tuned") / "architecture.json").classes == 3


def test_a_bundle_is_fine_tuned_by_its_folder(trained: Path, tmp_path: Path, said: Said, refused: Refused) -> None:
    bundle = tmp_path / "bundle"
    said("export", trained, "--to", bundle)
    told = said("retrain", bundle, *DIGITS, *SHORT, "--out", tmp_path / "tuned", "--from", bundle)
    assert told.splitlines()[0] == f"starts from {bundle}"
    assert told.splitlines()[-1].startswith("bundle: test accuracy")
    about = json.loads((tmp_path / "tuned" / "about.json").read_text())
    assert about["architecture"] == str(load_architecture(trained / "architecture.json"))
    (bundle / "preprocessing.json").write_text("[]")
    line = refused("retrain", "bundle", *DIGITS, "--out", "other", "--from", "bundle")
    assert "preprocessing.json is damaged" in line


def test_as_many_other_classes_are_other_classes(trained: Path, tmp_path: Path, said: Said) -> None:
    exported = tmp_path / "net"
    shutil.copytree(trained, exported)
    path = exported / "seed0" / "data.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "classes": [f"letter {name}" for name in values["classes"]]}))
    told = said("retrain", *NETWORK, *DIGITS, *SHORT, "--out", tmp_path / "tuned", "--from", exported)
    assert "with a new classifier, as the old one tells letter 0, letter 1" in told


def test_a_winner_inherits_from_the_supernet_of_its_run(searched: RunFolder, tmp_path: Path, said: Said) -> None:
    told = said("retrain", searched.path, "--out", tmp_path / "tuned", "--from", searched.path, *SHORT)
    assert told.splitlines()[0] == f"starts from {searched.path}"
    task = SearchTask(read_config(searched.config))
    supernet = SepConvSpace(task.space)
    load_weights(supernet, searched.supernet)
    expected = supernet.freeze(task.space.sample(searched.read_winner())).state_dict()
    start = load_file(tmp_path / "tuned" / "start.safetensors")
    assert start.keys() == expected.keys()
    assert all(torch.equal(start[name], expected[name]) for name in start)


def test_what_does_not_fit_is_refused_and_nothing_is_written(
    trained: Path, searched: RunFolder, tmp_path: Path, refused: Refused
) -> None:
    here = ["--out", "out", *DIGITS]
    assert "from: 'nothing' does not exist" in refused("retrain", *NETWORK, *here, "--from", "nothing")
    assert "--out: missing" in refused("retrain", str(searched.path), "--from", str(searched.path))
    # another network: its first tensor is named
    line = refused("retrain", "mobilenetv3-small", "--width", "0.5", *here, "--from", trained)
    assert f"weights: {trained} is of another architecture: " in line
    assert "is of shape" in line
    line = refused("retrain", "mobilenetv3-small-xsep", "--width", "0.25", *here, "--from", trained)
    assert line.endswith("is missing")
    assert f"the supernet of {searched.path} does not hold this network" in refused(
        "retrain", *NETWORK, *here, "--from", searched.path
    )
    (tmp_path / "alone").mkdir()
    shutil.copy(trained / "seed0" / "weights.safetensors", tmp_path / "alone")
    assert "has no architecture.json beside its weights" in refused("retrain", *NETWORK, *here, "--from", "alone")
    shutil.copy(trained / "architecture.json", tmp_path / "alone")
    (tmp_path / "alone" / "weights.safetensors").write_bytes(b"not tensors")
    assert "is damaged or not a safetensors file" in refused("retrain", *NETWORK, *here, "--from", "alone")
    (tmp_path / "empty").mkdir()
    assert "empty holds no run" in refused("retrain", *NETWORK, *here, "--from", "empty")


def test_a_run_without_a_supernet_says_what_to_give(searched: RunFolder, tmp_path: Path, refused: Refused) -> None:
    copy = tmp_path / "run"
    shutil.copytree(searched.path, copy)
    (copy / "search" / "supernet.safetensors").unlink()
    line = refused("retrain", "run", "--out", "out", "--from", "run")
    assert line.startswith("from: 'run' has no trained supernet; give run/retrain/winner for its retrained winner")


def test_results_of_another_own_change_are_never_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said, refused: Refused
) -> None:
    monkeypatch.chdir(tmp_path)
    request = ["retrain", *NETWORK, *DIGITS, *SHORT, "--out", "net"]
    own = ["--recipe.transform", "own_softening:soften"]
    monkeypatch.delitem(sys.modules, "own_softening", raising=False)
    Path("own_softening.py").write_text("def soften(images):\n    return images / 2\n")
    said(*request, *own)
    assert json.loads(Path("net/about.json").read_text())["recipe"]["transform"] == "own_softening:soften"
    assert "recipe.transform was 'own_softening:soften' and is now None" in refused(*request)
    # the same name, other code
    Path("own_softening.py").write_text("def soften(images):\n    return images / 3\n")
    assert "transform_code was" in refused(*request, *own)
    assert "cannot be imported" in refused(*request, "--recipe.transform", "nowhere:soften")
