"""Several seeds: at once or in turn with the same results, the best epoch's weights kept, their spread in the table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from helpers.runs import Killed, complaint, contents, rows, tiny_config, tiny_values
from helpers.trainings import RECIPE, architecture, train
from safetensors.torch import load_file

import experiments.runs.engine as engine_module
import experiments.runs.task as task_module
import experiments.training.retrain as retrain_module
from evaluators.training import callbacks as callbacks_module
from evaluators.training.loaders import measuring_loader
from evaluators.training.pools import Call
from experiments.cli import main
from experiments.comparison.compare import compare
from experiments.options.config import SearchConfig
from experiments.options.files import make_config
from experiments.runs.claimed_folder import ClaimedFolder
from experiments.runs.engine import retrainings_at_once
from experiments.runs.folder import RunFolder, open_run
from experiments.runs.provenance import provenance
from experiments.runs.task import DataTask
from experiments.training.retrain import TRAININGS, check_results, training_conditions
from search_space.base.errors import InvalidRequest
from search_space.network import build
from search_space.serialization import save_architecture

SEEDS = [0, 1]
CONDITIONS = {"test_images": 360, "provenance": {}}


def config(jobs: int = 1, **retrain: Any) -> SearchConfig:
    return tiny_config(retrain={"recipe": RECIPE, "seeds": SEEDS, **retrain}, budget={"max_macs": "150k"}, jobs=jobs)


def without_seconds(folder: Path) -> dict[str, Any]:
    """All files of a retraining, apart from how long it took."""
    files: dict[str, Any] = dict(contents(folder))
    for path in files:
        if path.endswith("result.json"):
            files[path] = {k: v for k, v in json.loads(files[path]).items() if k not in ("seconds", "provenance")}
        elif path.endswith("metrics.csv"):
            files[path] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows(folder / path)]
    return files


@pytest.fixture(scope="module")
def best_kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A retraining on the train split alone, one seed after the other."""
    folder = tmp_path_factory.mktemp("best") / "winner"
    train(config(train_on="train"), folder)
    return folder


# --- at once ---


def test_seeds_at_once_leave_the_files_of_one_after_the_other(best_kept: Path, tmp_path: Path) -> None:
    result = train(config(train_on="train", jobs=2), tmp_path / "winner")
    assert without_seconds(tmp_path / "winner") == without_seconds(best_kept)
    assert result.seeds == SEEDS
    told = [json.loads((best_kept / f"seed{seed}" / "result.json").read_text()) for seed in SEEDS]
    assert result.accuracies == [one["test_accuracy"] for one in told]
    assert all(seconds > 0 for seconds in result.seconds)
    # and they count as done, however they were made
    again = train(config(train_on="train"), tmp_path / "winner")
    assert (again.accuracies, again.seconds) == (result.accuracies, result.seconds)


def test_one_process_more_is_started_only_for_what_is_missing(best_kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []

    class Trained:
        def __init__(self, processes: int, data: Any, threads: int, *limits: Any) -> None:
            assert (processes, threads) == (2, 1)

        def submit(self, function: Any, *arguments: Any) -> Call[Any]:
            asked[-1].append(arguments[3])
            call: Call[Any] = Call()
            call.make(lambda: {"test_accuracy": 0.5, "seconds": 1.0, **CONDITIONS})
            return call

        def close(self) -> None:
            asked.append([])

    asked.append([])
    monkeypatch.setattr(engine_module, "SharedPool", Trained)
    result = train(config(train_on="train", jobs=3, seeds=[7, 1, 0, 5]), best_kept)
    assert asked == [[7, 5], []]
    assert result.seeds == [7, 1, 0, 5]
    known = [json.loads((best_kept / f"seed{seed}" / "result.json").read_text())["test_accuracy"] for seed in (1, 0)]
    assert result.accuracies == [0.5, *known, 0.5]


@pytest.mark.parametrize("field", ["devices", "num_nodes"])
def test_fewer_than_one_is_refused(field: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"retrain\.{field}: 0 must be a whole number of at least 1"):
        config(**{field: 0})


@pytest.mark.parametrize("field", ["devices", "num_nodes"])
def test_trainings_that_share_out_devices_come_one_after_the_other(field: str) -> None:
    assert retrainings_at_once(config(jobs=2), 3) == 2
    assert retrainings_at_once(config(jobs=2, **{field: 2}), 3) == 1


# --- the best epoch ---


def test_best_epoch_is_kept_beside_the_last_one(best_kept: Path) -> None:
    data = DataTask(config().data, 0).data
    for seed in SEEDS:
        home = best_kept / f"seed{seed}"
        assert {path.name for path in home.iterdir()} == {
            "best.safetensors",
            "data.json",
            "metrics.csv",
            "result.json",
            "weights.safetensors",
        }
        best = json.loads((home / "result.json").read_text())["best"]
        assert set(best) == {"epoch", "validation_accuracy", "test_accuracy"}
        network = build(architecture()).eval()
        network.load_state_dict(load_file(home / "best.safetensors"))
        for split, told in ((data.validation, "validation_accuracy"), (data.test, "test_accuracy")):
            right = 0
            with torch.inference_mode():
                for images, labels in measuring_loader(split, data, config().retrain.recipe, device="cpu"):
                    right += int((network(images).argmax(1) == labels).sum())
            assert right / len(split) == pytest.approx(best[told], abs=1e-6)
        last, kept = load_file(home / "weights.safetensors"), load_file(home / "best.safetensors")
        same = all(torch.equal(last[name], kept[name]) for name in last)
        assert same == (best["epoch"] == RECIPE["epochs"] - 1)


def test_training_on_everything_keeps_no_best_epoch(tmp_path: Path) -> None:
    train(config(seeds=[0]), tmp_path / "winner")
    home = tmp_path / "winner" / "seed0"
    assert not (home / "best.safetensors").exists()
    assert "best" not in json.loads((home / "result.json").read_text())


def test_killed_training_remembers_its_best_epoch(
    best_kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(self: Any, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        raise Killed

    original = callbacks_module.ResumePoint.on_train_epoch_end
    own = config(train_on="train", seeds=[0])
    with monkeypatch.context() as patch:
        patch.setattr(callbacks_module.ResumePoint, "on_train_epoch_end", die)
        with pytest.raises(Killed):
            train(own, tmp_path / "winner")
    train(own, tmp_path / "winner")
    mine, theirs = without_seconds(tmp_path / "winner"), without_seconds(best_kept)
    assert mine == {path: value for path, value in theirs.items() if not path.startswith("seed1/")}


# --- their spread ---


def test_table_gives_students_confidence_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {0: 0.91, 1: 0.94, 2: 0.90, 5: 0.93}
    calls = {"winner": list(figures.values()), "mobilenetv3-small": [0.7, 0.7, 0.7, 0.7]}

    def run_each(function: Any, calls_: Any, processes: int, **limits: Any) -> list[Any]:
        made = calls["winner" if "winner" in calls_[0][1] else "mobilenetv3-small"]
        return [{"test_accuracy": accuracy, "seconds": 2.0, **CONDITIONS} for accuracy in made]

    monkeypatch.setattr(retrain_module, "run_each", run_each)
    own = config(seeds=list(figures))
    run = open_run(tmp_path / "run", own.as_dict(), provenance(0, "cpu"), overwrite=False)
    save_architecture(architecture(), run.winner)
    compare([run], [own], ["mobilenetv3-small"], run.report)
    first, second = pd.read_csv(run.report / "comparison.csv").to_dict("records")
    values = np.array(list(figures.values()))
    low, high = scipy.stats.t.interval(0.95, df=3, loc=values.mean(), scale=scipy.stats.sem(values))
    assert first["test_accuracy_mean"] == pytest.approx(values.mean())
    assert first["test_accuracy_low95"] == pytest.approx(low)
    assert first["test_accuracy_high95"] == pytest.approx(high)
    assert (second["test_accuracy_low95"], second["test_accuracy_high95"]) == pytest.approx((0.7, 0.7))
    text = (run.report / "comparison.md").read_text()
    assert f"| {100 * low:.2f} to {100 * high:.2f} | 4 |" in text
    assert "mean ± sample standard deviation over seeds 0, 1, 2, 5" in text


# --- what cannot work is found before images are decoded, and before anything is trained ---


def begin(home: Path) -> None:
    """Leave a resume point, which must not be lost."""
    (home / "seed0").mkdir()
    (home / "seed0" / "last.ckpt").touch()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A finished search whose images must not be looked at."""

    def decode(*args: Any, **options: Any) -> None:
        raise AssertionError("images were decoded")

    monkeypatch.setattr(task_module, "load_data", decode)
    made = open_run(tmp_path / "run", config().as_dict(), provenance(0, "cpu"), overwrite=False)
    save_architecture(architecture(), made.winner)
    return made


def test_results_made_another_way_are_found_before_the_images(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    home = run.retrain / "winner"
    home.mkdir(parents=True)
    (home / "about.json").write_text(json.dumps({"recipe": {"epochs": 7}}))
    begin(home)
    before = contents(run.path)
    assert main(["retrain", str(run.path)]) == 2
    assert "recipe.epochs was 7 and is now 2; --overwrite deletes it" in complaint(capsys)
    assert contents(run.path) == before


def test_comparison_looks_at_all_folders_before_it_trains(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    other = run.retrain / "mobilenetv3-small-xsep"
    other.mkdir(parents=True)
    (other / "thesis.tex").touch()
    before = contents(run.path)
    for overwrite in ([], ["--overwrite"]):
        names = "mobilenetv3-small,mobilenetv3-small-xsep"
        assert main(["compare", str(run.path), "--baselines", names, *overwrite]) == 2
        assert "holds thesis.tex, which is not part of a retraining" in complaint(capsys)
        assert contents(run.path) == before


def test_precision_that_the_device_has_not_is_found_before_the_images(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["retrain", str(run.path), "--recipe.precision", "fp16"]) == 2
    assert "recipe.precision: fp16 needs a GPU" in complaint(capsys)
    assert not run.retrain.exists()


def test_checking_results_says_whether_they_can_stay(tmp_path: Path) -> None:
    own = config().retrain
    home = tmp_path / "winner"
    assert check_results(home, architecture(), own, {"seed": 0}, overwrite=False)
    assert not home.exists()
    home.mkdir()
    (home / "about.json").write_text(json.dumps({"train_on": "train"}))
    begin(home)
    assert not check_results(home, architecture(), own, {"seed": 0}, overwrite=True)
    assert set(contents(home)) == {"about.json", "seed0/last.ckpt"}
    with pytest.raises(InvalidRequest, match="made differently"):
        check_results(home, architecture(), own, {"seed": 0}, overwrite=False)


def test_how_many_seeds_run_at_once_does_not_make_other_results(tmp_path: Path) -> None:
    own = config().retrain
    home = tmp_path / "winner"
    ClaimedFolder(home, TRAININGS).claim({**training_conditions(own, {"seed": 0}), "architecture": str(architecture())})
    begin(home)
    assert check_results(home, architecture(), replace(own, seeds=[8]), {"seed": 0}, overwrite=False)
    other = replace(own, recipe=replace(own.recipe, mixup=0.1))
    with pytest.raises(InvalidRequest, match=r"recipe\.mixup was 0\.0 and is now 0\.1"):
        check_results(home, architecture(), other, {"seed": 0}, overwrite=False)


def test_config_on_disk_from_before_these_fields_still_reads() -> None:
    values = tiny_values(retrain={"seeds": [4]})
    assert make_config(values, "test").retrain.devices == 1


@pytest.mark.parametrize(("at_once", "jobs", "read"), [(1, None, None), (3, None, 3), (3, 2, 2)])
def test_config_on_disk_that_says_how_many_seeds_are_trained_at_once_still_reads(
    at_once: int, jobs: int | None, read: int | None
) -> None:
    own = make_config(tiny_values(retrain={"seeds": [4], "parallel_seeds": at_once}, jobs=jobs), "test")
    assert (own.retrain.seeds, own.jobs) == ([4], read)
