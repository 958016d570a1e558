"""A seed that diverges: the others are trained, it is on disk, and nothing takes it for a result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers import trainings
from helpers.runs import contents, tiny_config
from helpers.trainings import RECIPE, architecture

import experiments.training.retrain as retrain_module
from evaluators.training.run import TrainingDiverged
from experiments.runs.records import metrics_rows, metrics_writer
from experiments.training.retrain import Result, check_results, read_result
from search_space.base.errors import InvalidRequest
from search_space.serialization import save_architecture

SEEDS = [0, 1, 2]


def train(folder: Path, **retrain: Any) -> Result:
    return trainings.train(tiny_config(retrain={"recipe": RECIPE, "seeds": SEEDS, **retrain}), folder)


@pytest.fixture
def diverging(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The seeds whose training diverges."""
    seeds: set[int] = set()
    original = retrain_module.retrain

    def retrain(*args: Any, **options: Any) -> Any:
        if (seed := args[-1].seed) in seeds:
            raise TrainingDiverged(f"net, seed {seed}: the loss is nan at step 3")
        return original(*args, **options)

    monkeypatch.setattr(retrain_module, "retrain", retrain)
    return seeds


def test_a_seed_that_diverges_is_on_disk_and_does_not_stop_the_others(tmp_path: Path, diverging: set[int]) -> None:
    folder = tmp_path / "winner"
    diverging |= {0, 1}
    with pytest.raises(TrainingDiverged, match=r"the loss is nan at step 3; .* seed 0, 1 diverged and 1 of 3 seeds"):
        train(folder)
    for seed in (0, 1):
        assert set(contents(folder / f"seed{seed}")) == {"failed.json"}
        told = json.loads((folder / f"seed{seed}" / "failed.json").read_text())
        assert told == {"seed": seed, "error": f"net, seed {seed}: the loss is nan at step 3"}
    assert read_result(folder).seeds == [2]
    diverging.remove(0)
    with pytest.raises(TrainingDiverged, match="seed 1 diverged and 2 of 3 seeds succeeded"):
        train(folder)
    assert not (folder / "seed0" / "failed.json").exists()
    diverging.clear()
    result = train(folder)
    assert result.seeds == SEEDS
    assert all(0 <= accuracy <= 1 for accuracy in result.accuracies)
    assert not list(folder.glob("seed*/failed.json"))
    assert json.loads((folder / "seed0" / "data.json").read_text())["stored_size"] == 8


def test_a_folder_without_results_is_claimed_anew(tmp_path: Path, diverging: set[int]) -> None:
    folder = tmp_path / "winner"
    diverging |= set(SEEDS)
    with pytest.raises(TrainingDiverged, match="seed 0, 1, 2 diverged and 0 of 3"):
        train(folder)
    diverging.clear()
    other = {**RECIPE, "epochs": 1}
    assert train(folder, recipe=other, seeds=[2]).seeds == [2]
    assert json.loads((folder / "about.json").read_text())["recipe"]["epochs"] == 1
    assert not list(folder.glob("seed*/failed.json"))
    with pytest.raises(InvalidRequest, match=r"recipe\.epochs was 1 and is now 2; --overwrite deletes it"):
        train(folder)


@pytest.mark.parametrize("name", ["result.json", "last.ckpt"])
def test_a_result_or_a_resume_point_is_something_to_lose(tmp_path: Path, name: str) -> None:
    own = tiny_config().retrain
    (tmp_path / "about.json").write_text("{}")
    save_architecture(architecture(), tmp_path / "architecture.json")
    (tmp_path / "seed3").mkdir()
    (tmp_path / "seed3" / "metrics.csv").touch()
    assert not check_results(tmp_path, architecture(), own, {}, overwrite=False)
    (tmp_path / "seed3" / name).touch()
    with pytest.raises(InvalidRequest, match="made differently"):
        check_results(tmp_path, architecture(), own, {}, overwrite=False)


def test_the_validation_curve_is_kept(tmp_path: Path) -> None:
    train(tmp_path / "winner", train_on="train", seeds=[0])
    metrics = pd.read_csv(tmp_path / "winner" / "seed0" / "metrics.csv")
    best = json.loads((tmp_path / "winner" / "seed0" / "result.json").read_text())["best"]
    assert metrics["val_accuracy"].max() == pytest.approx(best["validation_accuracy"], abs=1e-5)
    assert metrics["val_accuracy"].idxmax() == best["epoch"]
    assert (metrics["val_loss"] > 0).all()


def test_a_figure_without_a_column_is_a_mistake_except_in_a_search(tmp_path: Path) -> None:
    figures = {"epoch": 0, "seconds": 1.0, "train_lose": 2.0}
    with pytest.raises(ValueError, match=r"metrics.csv has no column for train_lose"):
        metrics_writer(tmp_path / "metrics.csv", "retrain")(figures)
    assert not (tmp_path / "metrics.csv").exists()
    metrics_writer(tmp_path / "metrics.csv", "search")(figures)
    assert metrics_rows(tmp_path / "metrics.csv")[0]["seconds"] == "1"
