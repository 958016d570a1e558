"""The tutorial and the commands of README, run on small images."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

import experiments.tutorial as tutorial_module
from experiments.cli import main
from experiments.tutorial import classify
from experiments.tutorial import main as run_tutorial

ROOT = Path(__file__).parents[2]
#: makes a search and its trainings a matter of seconds
SMALL = shlex.split(
    "--data.image_size 16 --space.width 0.25 --space.operators dw_k3,skip --space.widths 1.0 --budget.max_macs 1M"
    " --strategy.name random --strategy.options.trials 2 --strategy.options.scoring training --finalists 0 --jobs 1"
    " --search.epochs 1 --search.warmup_epochs 0 --retrain.recipe.epochs 2 --retrain.recipe.warmup_epochs 0"
    " --retrain.recipe.learning_rate 0.05 --retrain.seeds 0"
)


def photos(folder: Path) -> Path:
    """Pictures that can be told apart: dark, grey and light ones."""
    for label, base in {"dark": 10, "grey": 110, "light": 210}.items():
        (folder / label).mkdir(parents=True)
        for index in range(14):
            shades = (base + index, base, base + 2 * index)
            Image.new("RGB", (20, 24), shades).save(folder / label / f"{index:02}.png")
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(images, what the tutorial left)."""
    home = tmp_path_factory.mktemp("tutorial")
    images = photos(home / "images")
    run_tutorial([str(images), "--out", str(home / "out"), *SMALL])
    return images, home / "out"


def test_what_the_last_steps_need_is_asked_for_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tutorial_module, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(SystemExit, match="2"):
        run_tutorial([str(tmp_path), "--out", str(tmp_path / "out")])
    assert capsys.readouterr().err.endswith("needs onnxruntime; pip install 'sepnas[onnx]'\n")
    assert not (tmp_path / "out").exists()


def test_the_tutorial_ends_with_an_onnx_file_that_agrees_with_the_command(
    finished: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = finished
    assert (out / "run" / "report" / "comparison.md").is_file()
    assert (out / "network" / "model.onnx").is_file()
    pictures = sorted(images.rglob("*.png"))[::7]
    capsys.readouterr()
    arguments = [str(out / "network"), *map(str, pictures)]
    assert main(["predict", *arguments, "--runtime", "onnx", "--json"]) == 0
    theirs = json.loads(capsys.readouterr().out)
    for picture, said in zip(pictures, theirs, strict=True):
        own = classify(out / "network", picture)
        assert sum(own.values()) == pytest.approx(1)
        for entry in said["predictions"]:
            assert own[entry["class"]] == pytest.approx(entry["probability"], abs=1e-3)


def test_a_step_that_fails_ends_the_tutorial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_tutorial([str(tmp_path / "none"), "--out", str(tmp_path / "out"), "--time", "1m"])
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out.count("$ sepnas ") == 1
    assert "--time 1m --out" in told.out
    assert "sepnas: data.name: " in told.err
    assert not (tmp_path / "out").exists()


def test_the_commands_of_the_readme_run_as_they_stand_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = (own for own in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "sepnas search" in own)
    commands = [shlex.split(line, comments=True)[1:] for line in block.splitlines() if line.startswith("sepnas ")]
    assert [command[0] for command in commands] == ["search", "retrain", "compare", "export", "predict", "retrain"]
    monkeypatch.chdir(tmp_path)
    images = photos(tmp_path / "path" / "to" / "images")
    photos(tmp_path / "other" / "images")
    (images / "dark" / "00.png").rename(tmp_path / "photo.jpg")
    for command in commands:
        if command[0] == "search":
            # what decides the time; the option of the example that is for auto alone gives way
            assert command[command.index("--time") + 1] == "2h"
            del command[command.index("--time") : command.index("--time") + 2]
            command += SMALL
        if "--from" in command:
            command += shlex.split("--data.image_size 16 --recipe.epochs 1 --recipe.warmup_epochs 0 --seeds 0")
        assert main(command) == 0, capsys.readouterr().err
    assert "photo.jpg: " in capsys.readouterr().out
