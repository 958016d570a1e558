"""Tables of trained architectures: what they hold, how they grow, and judging searches by them."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers.runs import Killed, complaint, rows, tiny_config, tiny_values
from scipy.stats import kendalltau

import experiments.runs.trainings as trainings_module
from experiments.cli import main
from experiments.options.files import read_config
from experiments.rank.rank import rank
from experiments.rank.table import open_table, summary, tabulate
from experiments.runs.folder import find_run
from experiments.runs.scores import Score, ScoreTable
from experiments.runs.task import SearchTask
from search_space.base.errors import InvalidRequest
from search_space.network_cost import cost
from search_space.notation import parse
from strategies.multi_trial.predictor import predict_scores

MANY = {"operators": ["dw_k3", "dw_k5", "skip"], "width": 0.25}
RETRAIN = {"recipe": {"epochs": 1, "batch_size": 32, "warmup_epochs": 0}}


def values(**more: Any) -> dict[str, Any]:
    return tiny_values(space=MANY, retrain=RETRAIN, jobs=1, **more)


def trained(folder: Path) -> dict[str, list[str]]:
    """{measure: architectures} in the order of the table."""
    found: dict[str, list[str]] = {}
    for row in rows(folder / "scores.csv"):
        found.setdefault(row["measure"], []).append(row["architecture"])
    return found


def test_a_table_holds_different_architectures_that_fill_the_budget(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({**values(budget={"max_macs": 100_000}), "fill": 0.85}))
    assert main(["tabulate", str(config), "--n", "6", "--seeds", "0,1", "--out", str(tmp_path / "table")]) == 0
    found = trained(tmp_path / "table")
    assert found["seed0"] == found["seed1"]
    assert len(set(found["seed0"])) == 6
    assert all(0.85 * 100_000 <= cost(parse(text)).macs <= 100_000 for text in found["seed0"])
    for row in rows(tmp_path / "table" / "scores.csv"):  # of 16 validation images
        assert 16 * float(row["accuracy"]) == pytest.approx(round(16 * float(row["accuracy"])))
        assert float(row["loss"]) > 0


def test_more_architectures_and_more_seeds_are_added_to_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(**{key: value for key, value in values().items() if key in ("space", "retrain", "jobs")})
    tabulate(config, tmp_path, n=2, seeds=[0])
    begun: list[int] = []
    original = trainings_module.retrain

    def retrain(*arguments: Any, **options: Any) -> Any:
        begun.append(arguments[-1].seed)
        if len(begun) == 2:
            raise Killed
        return original(*arguments, **options)

    monkeypatch.setattr(trainings_module, "retrain", retrain)
    with pytest.raises(Killed):
        tabulate(config, tmp_path, n=4, seeds=[0])
    first = trained(tmp_path)["seed0"]
    assert len(first) == 3
    table = tabulate(config, tmp_path, n=4, seeds=[0])
    table = tabulate(config, tmp_path, n=2, seeds=[0, 5])
    assert begun == [0, 0, 0, 5, 5]  # the second was killed
    assert trained(tmp_path)["seed0"][: len(first)] == first
    assert trained(tmp_path)["seed5"] == first[:2]
    assert {str(own): set(scores) for own, scores in table.trained().items()} == {
        text: {0, 5} if text in first[:2] else {0} for text in trained(tmp_path)["seed0"]
    }
    assert summary(table).startswith("4 architectures, 6 trainings, 0 architectures with one that diverged")
    assert not (tmp_path / "training").exists()


def _some(**more: Any) -> dict[str, Any]:
    return {"space": MANY, "retrain": RETRAIN, **more}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("table")
    tabulate(tiny_config(**_some(jobs=1)), folder, n=6, seeds=[0])
    tabulate(tiny_config(**_some(jobs=1)), folder, n=5, seeds=[0, 1])
    return folder


@pytest.mark.parametrize(
    "strategy",
    [
        {"name": "evolution", "options": {"trials": 2, "population_size": 1, "sample_size": 1}},
        {"name": "halving", "options": {"trials": 4, "rungs": 2, "startup": 3}},
    ],
    ids=["supernet", "model"],
)
def test_a_run_is_judged_by_a_table_without_any_training(
    strategy: dict[str, Any], table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.yaml"
    search = {"epochs": 2, "batch_size": 32, "warmup_epochs": 0}
    config.write_text(yaml.safe_dump({**values(strategy=strategy), "search": search}))
    assert main(["search", str(config), "--out", str(tmp_path / "run")]) == 0

    def forbid(*arguments: Any, **options: Any) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(trainings_module, "retrain", forbid)
    before = (table / "scores.csv").read_bytes()
    assert main(["rank", str(tmp_path / "run"), "--against", str(table)]) == 0
    assert (table / "scores.csv").read_bytes() == before
    found = rows(tmp_path / "run" / "rank" / "rank.csv")
    truth = ScoreTable(table / "scores.csv").trained()
    assert {row["architecture"] for row in found} == {str(own) for own in truth}
    for row in found:
        scores = truth[parse(row["architecture"])]
        mean = sum(score.accuracy for score in scores.values()) / len(scores)
        assert float(row["standalone_accuracy"]) == pytest.approx(mean)
    made = json.loads((tmp_path / "run" / "rank" / "rank.json").read_text())
    tau = kendalltau(*([round(float(row[name]), 6) for row in found] for name in ("predicted", "standalone_accuracy")))
    wanted = None if math.isnan(tau.statistic) else pytest.approx(tau.statistic)
    assert made["kendall_tau_b"]["predicted"]["value"] == wanted
    assert made["kendall_tau_b"]["ceiling"]["n"] == 5
    assert made["ranked_by"] == ("model" if strategy["name"] == "halving" else "supernet")


def test_a_model_predicts_the_scores_it_was_given(tmp_path: Path) -> None:
    task = SearchTask(tiny_config(**_some()))
    samples = [task.table.sample(row) for row in task.feasible.sample_many(np.random.RandomState(0), 60)]
    scores = [float(sum(str(value).startswith("dw_k5") for value in sample.values())) for sample in samples]
    predicted = predict_scores(task.table, samples[:40], scores[:40], samples[40:])
    assert kendalltau(predicted, scores[40:]).statistic > 0.5
    with pytest.raises(InvalidRequest, match=r"^scores: 2 are too few for a model; "):
        predict_scores(task.table, samples[:2], scores[:2], samples)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--against", "nowhere"], "against: nowhere holds no table; `sepnas tabulate` makes one"),
        (["--against", "TABLE", "--n", "7"], "--n: has no effect beside --against"),
        (["--against", "TABLE", "--recipe.epochs", "7"], "--recipe: has no effect beside --against"),
    ],
)
def test_wrong_requests_are_refused(
    arguments: list[str], text: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    options = {"trials": 4, "rungs": 1, "startup": 3}
    config.write_text(yaml.safe_dump(values(strategy={"name": "halving", "options": options})))
    assert main(["search", str(config), "--out", str(tmp_path / "run")]) == 0
    given = [str(table) if argument == "TABLE" else argument for argument in arguments]
    capsys.readouterr()
    assert main(["rank", str(tmp_path / "run"), *given]) == 2
    assert text in complaint(capsys)
    assert not (tmp_path / "run" / "rank").exists()


def test_a_table_of_other_images_judges_nothing(table: Path, tmp_path: Path) -> None:
    options = {"trials": 4, "rungs": 1, "startup": 3}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({**values(strategy={"name": "halving", "options": options}), "seed": 1}))
    assert main(["search", str(config), "--out", str(tmp_path / "run")]) == 0
    run = find_run(tmp_path / "run")
    with pytest.raises(InvalidRequest, match=r"is a table of other images \(data.seed was 0 and is now 1\)"):
        rank(run, read_config(run.config), against=table)


def test_a_table_may_come_from_another_machine_but_not_from_other_classes(table: Path, tmp_path: Path) -> None:
    shutil.copytree(table, tmp_path / "table")
    about = json.loads((table / "about.json").read_text())
    task = SearchTask(tiny_config(**_some()))
    (tmp_path / "table" / "about.json").write_text(
        json.dumps({**about, "data": {**about["data"], "name": "/elsewhere"}})
    )
    assert open_table(tmp_path / "table", task)[0].trained() == ScoreTable(table / "scores.csv").trained()
    (tmp_path / "table" / "about.json").write_text(json.dumps({**about, "classes": ["cat", "dog"]}))
    with pytest.raises(InvalidRequest, match=r"is a table of other images \(classes was "):
        open_table(tmp_path / "table", task)
    (tmp_path / "table" / "about.json").write_text(json.dumps({**about, "data": 5}))
    with pytest.raises(InvalidRequest, match=r"is a table of other images \(data was 5 and is now "):
        open_table(tmp_path / "table", task)


def test_diverged_trainings_are_counted(tmp_path: Path) -> None:
    table = ScoreTable(tmp_path / "scores.csv")
    first, second = (parse(row) for row in trained_texts())
    table.add("seed0", first, Score(0.5, 1.0, 2.0))
    table.add("seed0", second, Score(math.nan, math.nan, math.nan))
    assert summary(ScoreTable(tmp_path / "scores.csv")).startswith("2 architectures, 2 trainings, 1 architectures with")


def trained_texts() -> list[str]:
    task = SearchTask(tiny_config(**_some()))
    rows_ = task.feasible.sample_many(np.random.RandomState(1), 2)
    return [str(task.space.architecture(task.table.sample(row))) for row in rows_]
