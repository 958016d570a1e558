"""Exports: five files that load without anything but torch and search_space."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.runs import complaint
from helpers.trainings import files, result
from PIL import Image

from evaluators.augment.augmentation import normalise
from evaluators.augment.crops import centre
from evaluators.data.decode import square
from experiments.cli import main
from experiments.runs.folder import find_run
from experiments.training import trained as export_module
from search_space.network_cost import cost
from search_space.serialization import load_architecture
from search_space.weights import load_network

ROOT = Path(__file__).resolve().parent.parent


# --- export ---


@pytest.fixture(scope="module")
def exported(compared: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("for a friend") / "my network"
    assert main(["export", str(compared[0]), "--to", str(to)]) == 0
    return to


def test_an_export_is_five_files(exported: Path, compared: tuple[Path, Path]) -> None:
    assert files(exported) == {"architecture.json", "weights.safetensors", "data.json", "training.json", "load.py"}
    home = compared[0] / "retrain" / "winner"
    assert load_architecture(exported / "architecture.json") == load_architecture(compared[0] / "winner.json")
    # the first seed, not the best one
    assert (exported / "weights.safetensors").read_bytes() == (home / "seed0" / "weights.safetensors").read_bytes()
    described = json.loads((exported / "data.json").read_text())
    assert described["classes"] == [str(digit) for digit in range(10)]
    assert (described["image_size"], described["channels"]) == (8, 1)
    training, own = json.loads((exported / "training.json").read_text()), result(home, 0)
    assert {name: training[name] for name in ("seed", "test_accuracy", "macs", "params")} == {
        name: own[name] for name in ("seed", "test_accuracy", "macs", "params")
    }
    assert training["recipe"] == json.loads((home / "about.json").read_text())["recipe"]
    assert "provenance" not in training, "a user's command line and folders are nobody else's business"


def test_an_exported_network_loads_without_anything_but_torch_and_the_space(
    exported: Path, compared: tuple[Path, Path], tmp_path: Path
) -> None:
    Image.fromarray(np.arange(99, dtype=np.uint8).reshape(9, 11)).save(tmp_path / "an image.png")
    script = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {
            "nni", "pytorch_lightning", "lightning_fabric", "strategies", "evaluators", "experiments", "jsonargparse"
        }:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import runpy
sys.argv = [sys.argv[1], *sys.argv[2:]]
names = runpy.run_path(sys.argv[0], run_name="__main__")
import torch
torch.save(names["load"]()(torch.linspace(-1, 1, 64).view(1, 1, 8, 8)), "logits.pt")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(exported / "load.py"), str(tmp_path / "an image.png")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    own = cost(load_architecture(exported / "architecture.json"))
    assert f"{own.params:,} parameters, 10 classes" in done.stdout
    assert "an image.png: " in done.stdout
    with torch.inference_mode():
        wanted = load_network(exported)(torch.linspace(-1, 1, 64).view(1, 1, 8, 8))
    torch.testing.assert_close(torch.load(tmp_path / "logits.pt", weights_only=True), wanted)


@pytest.mark.parametrize("size", [(9, 11), (8, 8), (40, 13), (7, 300)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stored", [8, 11, 12])
def test_the_loader_prepares_images_as_training_does(
    tmp_path: Path, size: tuple[int, int], channels: int, stored: int
) -> None:
    described = {"image_size": 8, "channels": channels, "mean": [0.3] * channels, "std": [0.2] * channels}
    described["stored_size"] = stored
    (tmp_path / "data.json").write_text(json.dumps(described))
    (tmp_path / "load.py").write_text(export_module._LOADER)
    names: dict[str, Any] = {"__file__": str(tmp_path / "load.py"), "__name__": "loader"}
    exec(compile(export_module._LOADER, "load.py", "exec"), names)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    path = tmp_path / "image.png"
    Image.fromarray(pixels).save(path)
    with Image.open(path) as image:
        wanted = centre(torch.from_numpy(square(image, stored, channels).copy())[None], (8, 8))
    assert torch.equal(names["read"](path), wanted)
    torch.testing.assert_close(
        names["normalise"](wanted), normalise(wanted, described["mean"], described["std"])  # type: ignore[arg-type]
    )  # fmt: skip


def test_the_seed_of_an_export_is_chosen_by_number(
    compared: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, _ = compared
    assert main(["export", str(one), "--to", str(tmp_path / "b"), "--seed", "1"]) == 0
    chosen = one / "retrain" / "winner" / "seed1" / "weights.safetensors"
    assert (tmp_path / "b" / "weights.safetensors").read_bytes() == chosen.read_bytes()
    capsys.readouterr()
    assert main(["export", str(one), "--to", str(tmp_path / "c"), "--seed", "7"]) == 2
    assert complaint(capsys) == "sepnas: seed: 7 was not trained; trained are 0, 1"
    assert not (tmp_path / "c").exists()


def test_an_export_never_touches_files_that_are_not_its_own(
    compared: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "to"
    to.mkdir()
    (to / "notes.txt").write_text("mine")
    capsys.readouterr()
    assert main(["export", str(compared[0]), "--to", str(to)]) == 2
    assert "to already holds notes.txt; give another folder, or --overwrite" in complaint(capsys)
    assert files(to) == {"notes.txt"}
    assert main(["export", str(compared[0]), "--to", str(to), "--overwrite"]) == 0
    assert (to / "notes.txt").read_text() == "mine"
    assert len(files(to)) == 6
    (tmp_path / "file").touch()
    capsys.readouterr()
    assert main(["export", str(compared[0]), "--to", str(tmp_path / "file")]) == 2
    assert "file is a file; give a folder" in complaint(capsys)


def test_a_run_found_again_has_its_winner(compared: tuple[Path, Path]) -> None:
    assert find_run(compared[0]).winner.is_file()
