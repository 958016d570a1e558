"""Final trainings: what each seed leaves, what is not done twice, what is refused."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from helpers.runs import Killed, complaint
from helpers.trainings import SEED_FILES, files, make_run, result
from safetensors.torch import load_file

import experiments.training.retrain as retrain_module
from evaluators.training import callbacks as callbacks_module
from evaluators.training.loaders import measuring_loader
from experiments.cli import main
from experiments.options.files import read_config
from experiments.runs.task import DataTask
from search_space.network_cost import cost
from search_space.serialization import load_architecture
from search_space.weights import load_network

# --- retraining ---


def test_each_seed_leaves_weights_data_metrics_and_a_result(compared: tuple[Path, Path]) -> None:
    one, _ = compared
    home = one / "retrain" / "winner"
    wanted = {f"seed{seed}/{name}" for seed in (0, 1) for name in SEED_FILES}
    assert files(home) == {"about.json", "architecture.json", *wanted}
    own = cost(load_architecture(one / "winner.json"))
    for seed in (0, 1):
        made = result(home, seed)
        assert (made["seed"], made["macs"], made["params"], made["device"]) == (seed, own.macs, own.params, "cpu")
        assert 0 <= made["test_accuracy"] <= 1
        assert (made["devices"], made["num_nodes"]) == (1, 1)
        assert made["provenance"]["versions"]["torch"] == torch.__version__
        metrics = pd.read_csv(home / f"seed{seed}" / "metrics.csv")
        assert list(metrics["epoch"]) == [0, 1]
        assert set(metrics["phase"]) == {"retrain"}


def test_the_test_accuracy_is_that_of_the_saved_weights(compared: tuple[Path, Path]) -> None:
    home = compared[0] / "retrain" / "winner"
    config = read_config(compared[0] / "config.yaml")
    data = DataTask(config.data, config.seed).data
    for seed in (0, 1):
        network = load_network(_exported(home, seed))
        right = 0
        with torch.inference_mode():
            for images, labels in measuring_loader(data.test, data, config.retrain.recipe, device="cpu"):
                right += int((network(images).argmax(1) == labels).sum())
        assert result(home, seed)["test_images"] == len(data.test)
        assert right / len(data.test) == pytest.approx(result(home, seed)["test_accuracy"], abs=1e-6)


def _exported(home: Path, seed: int) -> Path:
    """load_network wants architecture and weights in one folder."""
    folder = home.parent.parent.parent / f"joined{seed}"
    folder.mkdir(exist_ok=True)
    (folder / "architecture.json").write_bytes((home / "architecture.json").read_bytes())
    (folder / "weights.safetensors").write_bytes((home / f"seed{seed}" / "weights.safetensors").read_bytes())
    return folder


def test_another_seed_gives_other_weights(compared: tuple[Path, Path]) -> None:
    home = compared[0] / "retrain" / "winner"
    first, second = (load_file(home / f"seed{seed}" / "weights.safetensors") for seed in (0, 1))
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_finished_seeds_are_not_trained_again(compared: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(retrain_module, "retrain", train)
    before = (compared[0] / "retrain" / "winner" / "seed0" / "result.json").read_bytes()
    assert main(["retrain", str(compared[0])]) == 0
    assert main(["retrain", str(compared[0]), "--seeds", "0"]) == 0
    # asked to delete what was made differently: nothing was
    assert main(["retrain", str(compared[0]), "--overwrite"]) == 0
    assert (compared[0] / "retrain" / "winner" / "seed0" / "result.json").read_bytes() == before


@pytest.mark.parametrize("seeds", [["--seeds", "[0,2]"], ["--seeds", "0,2"], ["--seeds=0,2"]])
def test_seeds_may_be_written_with_and_without_brackets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeds: list[str]
) -> None:
    run = make_run(tmp_path / "run")
    trained: list[int] = []

    def train(*args: Any) -> dict[str, Any]:
        trained.append(args[4])
        return {"test_accuracy": 0.5, "seconds": 1.0, "test_images": 360, "provenance": {}}

    monkeypatch.setattr(retrain_module, "_train_one", train)
    monkeypatch.chdir(tmp_path)
    assert main(["retrain", f"{run.name}/", *seeds]) == 0
    assert trained == [0, 2]


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (["--recipe.epochs", "3"], "recipe.epochs was 2 and is now 3"),
        (["--train_on", "train"], "train_on was 'train+validation' and is now 'train'"),
        (["--data.max_train_images", "90"], "data.max_train_images was 80 and is now 90"),
        (["--seed", "9"], "data.seed was 0 and is now 9"),
    ],
)
def test_results_made_another_way_are_refused(
    compared: tuple[Path, Path], capsys: pytest.CaptureFixture[str], options: list[str], difference: str
) -> None:
    before = files(compared[0])
    capsys.readouterr()
    assert main(["retrain", str(compared[0]), *options]) == 2
    said = complaint(capsys)
    assert difference in said
    assert "--overwrite deletes it" in said
    assert files(compared[0]) == before


def test_results_of_another_architecture_are_refused(
    compared: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    one, two = compared
    capsys.readouterr()
    assert main(["retrain", str(two), "--out", str(one / "retrain" / "winner")]) == 2
    assert "made differently: architecture " in complaint(capsys)


def test_overwriting_trains_by_the_new_recipe(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert main(["retrain", str(run), "--seeds", "0,1"]) == 0
    options = ["--recipe.epochs", "1", "--recipe.warmup_epochs", "0", "--seeds", "1", "--overwrite"]
    assert main(["retrain", str(run), *options]) == 0
    home = run / "retrain" / "winner"
    assert files(home) == {"about.json", "architecture.json", *(f"seed1/{name}" for name in SEED_FILES)}
    assert json.loads((home / "about.json").read_text())["recipe"]["epochs"] == 1
    assert len(pd.read_csv(home / "seed1" / "metrics.csv")) == 1


def test_an_architecture_file_is_trained_into_a_folder_of_its_own(
    compared: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, out = tmp_path / "my winner.json", tmp_path / "a b" / "results"
    target.write_bytes((compared[0] / "winner.json").read_bytes())
    options = ["--data.image_size", "8", "--data.max_train_images", "80", "--accelerator", "cpu"]
    recipe = ["--recipe.epochs", "2", "--recipe.batch_size", "32", "--recipe.learning_rate", "0.05", "--seeds", "0"]
    assert main(["retrain", str(target), "--out", str(out), *options, *recipe]) == 0
    assert "my winner: test accuracy" in capsys.readouterr().out
    # the same data, recipe and seed as the run's: the same weights
    same = compared[0] / "retrain" / "winner" / "seed0" / "weights.safetensors"
    assert (out / "seed0" / "weights.safetensors").read_bytes() == same.read_bytes()


@pytest.mark.parametrize("after", ["the metrics", "the resume point"])
def test_a_training_killed_between_epochs_goes_on_to_the_same_weights(
    compared: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    run = make_run(tmp_path / "run")
    steps: list[int] = []

    def die(self: Any, trainer: Any, module: Any) -> None:
        if after == "the resume point":
            original(self, trainer, module)
        raise Killed

    def count(self: Any, *args: Any) -> None:
        steps.append(1)

    original = callbacks_module.ResumePoint.on_train_epoch_end
    with monkeypatch.context() as patch:
        patch.setattr(callbacks_module.ResumePoint, "on_train_epoch_end", die)
        with pytest.raises(Killed):
            main(["retrain", str(run), "--seeds", "0"])
    home = run / "retrain" / "winner"
    assert (home / "seed0" / "last.ckpt").exists() == (after == "the resume point")
    monkeypatch.setattr(callbacks_module.EpochProgress, "on_train_batch_end", count)
    assert main(["retrain", str(run), "--seeds", "0"]) == 0
    assert len(steps) == (3 if after == "the resume point" else 6)
    whole = compared[0] / "retrain" / "winner" / "seed0"
    assert (home / "seed0" / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    rows = [pd.read_csv(folder / "metrics.csv").drop(columns="seconds") for folder in (home / "seed0", whole)]
    pd.testing.assert_frame_equal(*rows)
    assert files(home / "seed0") == SEED_FILES


def test_wherever_the_disk_fills_up_the_training_goes_on_to_the_same_weights(
    compared: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (compared[0] / "retrain" / "winner" / "seed0" / "weights.safetensors").read_bytes()
    rename = os.replace
    run = make_run(tmp_path / "run")
    out = tmp_path / "results"
    for at in range(9):
        calls = 0

        def replace_or_fail(*args: Any, at: int = at) -> None:
            nonlocal calls
            calls += 1
            if calls == at + 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            rename(*args)

        out = tmp_path / f"results{at}"
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace_or_fail)
            capsys.readouterr()
            code = main(["retrain", str(run), "--out", str(out), "--seeds", "0"])
        if calls <= at:  # all writes were done
            assert code == 0
            break
        assert code == 2
        assert "no space left" in complaint(capsys)
        assert main(["retrain", str(run), "--out", str(out), "--seeds", "0"]) == 0
        assert (out / "seed0" / "weights.safetensors").read_bytes() == whole
        assert files(out) == {"about.json", "architecture.json", *(f"seed0/{name}" for name in SEED_FILES)}
    assert at == 8  # about, architecture, metrics, two resume points, weights, data, result
