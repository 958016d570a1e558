"""Retraining, comparison and export: what is written, what is not done twice, what runs without NNI."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from helpers.runs import Killed, complaint, contents, tiny_values
from PIL import Image
from safetensors.torch import load_file

import experiments.training.retrain as retrain_module
from evaluators.augment.augmentation import normalise
from evaluators.augment.crops import centre
from evaluators.data.decode import square
from evaluators.training import trainer as trainer_module
from evaluators.training.loaders import measuring_loader
from experiments.cli import main
from experiments.comparison.compare import compare
from experiments.options.files import read_config
from experiments.runs.folder import RunFolder, find_run, open_run
from experiments.runs.provenance import provenance
from experiments.runs.task import DataTask
from experiments.training import export as export_module
from search_space.hand_designed import baseline
from search_space.network_cost import cost
from search_space.serialization import load_architecture, save_architecture
from search_space.weights import load_network

ROOT = Path(__file__).resolve().parent.parent
SEED_FILES = {"result.json", "weights.safetensors", "data.json", "metrics.csv"}


def make_run(folder: Path, operator: str = "sep_k3", **more: Any) -> Path:
    """The folder of a finished search, without the searching."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    given = folder.parent / f"{folder.name}.yaml"
    recipe = {"epochs": 2, "batch_size": 32, "learning_rate": 0.05}
    given.write_text(
        yaml.safe_dump(
            tiny_values(**{"budget": {"max_macs": "80k"}, "retrain": {"recipe": recipe, "seeds": [0, 1]}, **more})
        )
    )
    run = open_run(folder, read_config(given).as_dict(), provenance(0, "cpu"), overwrite=False)
    architecture = baseline("mobilenetv3-small", image_size=8, in_channels=1, width=0.25)
    blocks = tuple(
        replace(block, operator=operator, expanded_channels=0, se_channels=0) for block in architecture.blocks
    )
    save_architecture(replace(architecture, blocks=blocks), run.winner)
    return folder


def files(folder: Path) -> set[str]:
    return set(contents(folder))


def result(folder: Path, seed: int) -> dict[str, Any]:
    return json.loads((folder / f"seed{seed}" / "result.json").read_text())


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs, compared with a baseline: the report is in the first one."""
    home = tmp_path_factory.mktemp("my runs")
    one, two = make_run(home / "one"), make_run(home / "two", "bsconv_u_k3")
    assert main(["compare", f"{one}/", str(two), "--baselines", " mobilenetv3-small,"]) == 0
    return one, two


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
    # asked to delete what was made another way: nothing was
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
    assert "made another way: architecture " in complaint(capsys)


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

    original = trainer_module.ResumePoint.on_train_epoch_end
    with monkeypatch.context() as patch:
        patch.setattr(trainer_module.ResumePoint, "on_train_epoch_end", die)
        with pytest.raises(Killed):
            main(["retrain", str(run), "--seeds", "0"])
    home = run / "retrain" / "winner"
    assert (home / "seed0" / "last.ckpt").exists() == (after == "the resume point")
    monkeypatch.setattr(trainer_module.EpochProgress, "on_train_batch_end", count)
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


# --- comparison ---


def test_the_table_holds_the_figures_of_the_results(compared: tuple[Path, Path]) -> None:
    one, two = compared
    table = pd.read_csv(one / "report" / "comparison.csv")
    assert list(table.columns) == [
        "network",
        "macs",
        "flops_2x",
        "params",
        "in_budget",
        "n",
        "test_accuracy_mean",
        "test_accuracy_std",
        "test_accuracy_low95",
        "test_accuracy_high95",
        "seconds_mean",
    ]
    assert list(table["network"]) == ["gdas winner (one)", "gdas winner (two)", "mobilenetv3-small"]
    homes = [one / "retrain" / "winner", two / "retrain" / "winner", one / "retrain" / "mobilenetv3-small"]
    for row, home in zip(table.to_dict("records"), homes, strict=True):
        results = [result(home, seed) for seed in (0, 1)]
        accuracies = [made["test_accuracy"] for made in results]
        own = cost(load_architecture(home / "architecture.json"))
        assert (row["macs"], row["flops_2x"], row["params"]) == (own.macs, 2 * own.macs, own.params)
        assert row["in_budget"] == (own.macs <= 80_000)
        assert row["n"] == 2
        assert row["test_accuracy_mean"] == pytest.approx(np.mean(accuracies))
        assert row["test_accuracy_std"] == pytest.approx(np.std(accuracies, ddof=1))
        # the 97.5 % quantile of Student's t with one degree of freedom, from a printed table
        half = 12.706 * np.std(accuracies, ddof=1) / np.sqrt(2)
        assert row["test_accuracy_low95"] == pytest.approx(max(0, np.mean(accuracies) - half), abs=1e-4)
        assert row["test_accuracy_high95"] == pytest.approx(min(1, np.mean(accuracies) + half), abs=1e-4)
        assert row["seconds_mean"] == pytest.approx(np.mean([made["seconds"] for made in results]))
    assert set(table["in_budget"]) == {True, False}


def test_the_report_says_how_the_figures_were_made(compared: tuple[Path, Path]) -> None:
    one, _ = compared
    text = (one / "report" / "comparison.md").read_text()
    made = json.loads((one / "provenance.json").read_text())
    table = pd.read_csv(one / "report" / "comparison.csv")
    for row in table.to_dict("records"):
        mean, std = 100 * row["test_accuracy_mean"], 100 * row["test_accuracy_std"]
        low, high = 100 * row["test_accuracy_low95"], 100 * row["test_accuracy_high95"]
        assert f"| {row['network']} |" in text
        inside = "yes" if row["in_budget"] else "no"
        assert f"| {inside} | {mean:.2f} ± {std:.2f} | {low:.2f} to {high:.2f} | 2 |" in text
    for words in (
        made["processor"],
        f"{made['cores']} cores",
        f"torch {torch.__version__}",
        "Budget: macs <= 80.00k",
        "seeds 0, 1",
        "sample standard deviation",
        "360 test images",
        "2 epochs, batch 32, peak learning rate 0.05",
        "(accuracy_macs.png)",
    ):
        assert words in text


def test_the_plot_is_a_picture_with_something_on_it(compared: tuple[Path, Path]) -> None:
    report = compared[0] / "report"
    assert files(report) == {"comparison.csv", "comparison.md", "accuracy_macs.png"}
    with Image.open(report / "accuracy_macs.png") as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    assert min(pixels.shape[:2]) > 300
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_a_report_is_made_again_elsewhere_without_training(
    compared: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(retrain_module, "retrain", train)
    one, two = compared
    assert main(["compare", str(two), "--baselines", "", "--out", str(tmp_path / "new report")]) == 0
    table = pd.read_csv(tmp_path / "new report" / "comparison.csv")
    assert list(table["network"]) == ["gdas winner"]
    monkeypatch.chdir(one)
    assert main(["compare", ".", "../two", "--baselines", "mobilenetv3-small"]) == 0
    table = pd.read_csv("report/comparison.csv")
    assert list(table["network"]) == ["gdas winner (one)", "gdas winner (two)", "mobilenetv3-small"]


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run", retrain={"recipe": {"epochs": 1, "warmup_epochs": 0, "batch_size": 32}, "seeds": [4]}
    )
    assert main(["compare", str(run), "--baselines", ""]) == 0
    table = pd.read_csv(run / "report" / "comparison.csv")
    assert list(table["n"]) == [1]
    assert table[["test_accuracy_std", "test_accuracy_low95", "test_accuracy_high95"]].isna().all(axis=None)
    text = (run / "report" / "comparison.md").read_text()
    assert "±" not in text.split("Budget:")[0]
    assert "nan" not in text


def test_runs_of_equal_names_are_told_apart_by_their_paths(
    compared: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*args: Any) -> dict[str, Any]:
        return {"test_accuracy": 0.5, "seconds": 1.0, "test_images": 360, "provenance": {}}

    monkeypatch.setattr(retrain_module, "_train_one", train)
    runs = [RunFolder(make_run(tmp_path / name / "run")) for name in ("a", "b")]
    results = compare(runs, [read_config(run.config) for run in runs], [], tmp_path / "report")
    assert [one.name for one in results] == [f"gdas winner ({run.path})" for run in runs]


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
