"""A comparison never mixes results of other data, another recipe, other epochs or another resolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.trainings import make_run, pretend

from experiments.options.files import read_config
from experiments.runs.folder import RunFolder
from experiments.training.retrain import retrain_network

#: {what differs: (changes of the data, of the recipe, field, its other value, its value in the run)}
OTHERWISE: dict[str, tuple[dict[str, Any], dict[str, Any], str, object, object]] = {
    "data": ({"max_train_images": 60}, {}, "data.max_train_images", 60, 80),
    "recipe": ({}, {"learning_rate": 0.1}, "recipe.learning_rate", 0.1, 0.05),
    "epochs": ({}, {"epochs": 3}, "recipe.epochs", 3, 2),
    "resolution": ({"image_size": 16}, {}, "data.image_size", 16, 8),
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pretend(monkeypatch, lambda name, seed: 0.5)
    return make_run(tmp_path / "run")


@pytest.mark.parametrize("what", OTHERWISE)
def test_results_made_another_way_are_refused_and_told_apart(
    what: str, run: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    data, recipe, field, other, own = OTHERWISE[what]
    config = read_config(RunFolder(run).config)
    retraining = replace(config.retrain, recipe=replace(config.retrain.recipe, **recipe))
    changed = replace(config, data=replace(config.data, **data), retrain=retraining)
    network = replace(RunFolder(run).read_winner(), image_size=changed.data.image_size)
    # trainings of the winner in the run's own folder
    retrain_network("gdas winner", network, changed, run / "retrain" / "winner")
    line = refused("compare", run, "--baselines", "")
    assert f"made differently: {field} was {other} and is now {own}; --overwrite deletes it" in line
    # a folder of `sepnas retrain --out`
    (run / "retrain").rename(tmp_path / "trained")
    line = refused("compare", run, tmp_path / "trained" / "winner", "--baselines", "")
    assert f"was trained differently from {run} ({field} was {own} and is now {other}); a table of both" in line


@pytest.mark.parametrize("what", OTHERWISE)
def test_runs_of_other_conditions_are_refused_and_told_apart(
    what: str, run: Path, tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # long paths would be cut short
    run = run.relative_to(tmp_path)
    data, recipe, field, other, own = OTHERWISE[what]
    values = read_config(RunFolder(run).config).as_dict()
    values["data"] |= data
    values["retrain"]["recipe"] |= recipe
    second = make_run(Path("second"), data=values["data"], retrain=values["retrain"])
    line = refused("compare", run, second, "--baselines", "")
    assert f"has other data, retraining or seed than {run} (" in line
    assert f"{field} was {own} and is now {other}); a table of both would not be fair" in line


def test_what_is_there_is_used_and_what_is_missing_is_trained(run: Path, said: Callable[..., str]) -> None:
    said("compare", run, "--baselines", "")
    (run / "retrain" / "winner" / "seed1" / "result.json").unlink()
    kept = run / "retrain" / "winner" / "seed0" / "result.json"
    before = kept.stat().st_mtime_ns
    said("compare", run, "--baselines", "mobilenetv3-small")
    assert kept.stat().st_mtime_ns == before
    assert len(list((run / "retrain").glob("*/seed*/result.json"))) == 4
