"""Searches on disk: what a run leaves, that it is repeatable, and that it never looks at the test images."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers.runs import contents, outcome, rows
from helpers.searches import BUDGET, OPERATORS, RUN_FILES, STRATEGIES, config, run

import experiments.commands.demo as demo_module
import experiments.comparison.compare as compare_module
import experiments.runs.task as task_module
from evaluators.data.images import ImageData, ImageSet, Unopened
from evaluators.training.recipes import Recipe
from experiments.cli import main
from experiments.options.config import RetrainConfig, SearchConfig
from experiments.options.files import read_config
from search_space.network_cost import cost
from search_space.notation import parse
from search_space.serialization import load_architecture


@pytest.fixture(scope="module", params=["gdas", "darts", "evolution", "training"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(strategy, folder of its finished run)."""
    return request.param, run(tmp_path_factory.mktemp(request.param), request.param)


# --- what a run leaves ---


def test_the_winner_is_inside_the_budget_and_on_record(finished: tuple[str, Path]) -> None:
    _, out = finished
    winner = load_architecture(out / "winner.json")
    assert cost(winner).macs <= BUDGET
    assert {block.operator for block in winner.blocks} <= set(OPERATORS)
    assert (winner.image_size, winner.in_channels, winner.classes) == (8, 1, 10)
    assert str(winner) in [row["architecture"] for row in rows(out / "architectures.csv")]


def test_a_run_holds_the_documented_files_and_no_other(finished: tuple[str, Path]) -> None:
    strategy, out = finished
    more = {"evolution": {"search/supernet.safetensors"}, "training": set()}
    wanted = RUN_FILES | more.get(strategy, {"probabilities.csv"})
    if strategy == "training":
        wanted = wanted - {"metrics.csv"} | {"trials.csv"}  # there is no supernet
    assert set(contents(out)) == wanted


def test_scored_architectures_have_their_cost_and_the_best_one_wins(finished: tuple[str, Path]) -> None:
    strategy, out = finished
    scored = rows(out / "architectures.csv")
    assert list(scored[0]) == ["trial", "measure", "score", "accuracy", "macs", "params", "architecture"]
    assert [int(row["trial"]) for row in scored] == list(range(len(scored)))
    assert len({row["architecture"] for row in scored}) == len(scored)
    for row in scored:
        own = cost(parse(row["architecture"]))
        assert (int(row["macs"]), int(row["params"])) == (own.macs, own.params)
        assert own.macs <= BUDGET
    if strategy in ("gdas", "darts"):
        assert [row["measure"] for row in scored] == ["log_probability"]
        assert float(scored[0]["score"]) < 0
    else:
        inherited = strategy == "evolution"
        measure = "negative_validation_loss" if inherited else "validation_accuracy"
        assert {row["measure"] for row in scored} == {measure}
        assert len(scored) == STRATEGIES[strategy]["options"]["trials"]
        assert all(0 <= float(row["accuracy"]) <= 1 for row in scored)
        assert all(float(row["score"]) < 0 if inherited else row["score"] == row["accuracy"] for row in scored)
        best = max(float(row["score"]) for row in scored)
        winner = str(load_architecture(out / "winner.json"))
        assert winner in [row["architecture"] for row in scored if float(row["score"]) == best]


def test_metrics_have_a_row_an_epoch(finished: tuple[str, Path]) -> None:
    strategy, out = finished
    if strategy == "training":
        return
    metrics = rows(out / "metrics.csv")
    assert [(row["phase"], row["epoch"]) for row in metrics] == [("search", "0"), ("search", "1")]
    for row in metrics:
        assert float(row["train_loss"]) > 0
        assert 0 <= float(row["train_accuracy"]) <= 1
        assert float(row["seconds"]) >= 0
    if strategy == "gdas":
        assert all(float(row["expected_macs"]) > 0 and float(row["architecture_entropy"]) > 0 for row in metrics)


def test_the_config_on_disk_is_the_whole_resolved_one(finished: tuple[str, Path]) -> None:
    strategy, out = finished
    config_on_disk = read_config(out / "config.yaml")
    assert config_on_disk == read_config(out.parent / f"{strategy}.yaml")
    written = yaml.safe_load((out / "config.yaml").read_text())
    assert written == yaml.safe_load(yaml.safe_dump(config_on_disk.as_dict()))
    assert set(written) == {field.name for field in fields(SearchConfig)}
    assert set(written["retrain"]) == {field.name for field in fields(RetrainConfig)}
    for recipe in (written["search"], written["retrain"]["recipe"]):
        assert set(recipe) == {field.name for field in fields(Recipe)}
    assert written["data"]["on_corrupt"] == "refuse"
    assert written["budget"]["max_macs"] == BUDGET


def test_provenance_says_what_made_the_run(finished: tuple[str, Path]) -> None:
    made = json.loads((finished[1] / "provenance.json").read_text())
    assert made["seed"] == 0
    assert made["accelerator"] == "cpu"
    assert made["versions"]["torch"] == torch.__version__
    assert made["versions"]["nni"] == "3.0"
    assert {"command", "time", "machine", "processor", "cores", "threads", "python", "revision"} <= set(made)


def test_files_of_a_run_are_as_readable_as_each_other(finished: tuple[str, Path]) -> None:
    modes = {path.stat().st_mode & 0o777 for path in finished[1].iterdir() if path.is_file()}
    assert len(modes) == 1


# --- seeds ---


def test_the_same_seed_gives_the_same_search_and_another_seed_another(
    resumable: tuple[str, Path], tmp_path: Path
) -> None:
    strategy, whole = resumable
    assert outcome(run(tmp_path, strategy, name="again")) == outcome(whole)
    assert outcome(run(tmp_path, strategy, "--seed", "1", name="other")) != outcome(whole)


def test_the_global_random_state_has_no_say(resumable: tuple[str, Path], tmp_path: Path) -> None:
    strategy, whole = resumable
    torch.manual_seed(987)
    assert outcome(run(tmp_path, strategy)) == outcome(whole)


# --- the test split ---


def test_a_search_never_sees_the_test_split(
    resumable: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy, whole = resumable

    def load_poisoned(*args: Any, **kwargs: Any) -> ImageData:
        data = load(*args, **kwargs)
        assert isinstance(data.test, ImageSet)
        wrong = (data.test.labels + 1) % len(data.classes)
        poisoned = ImageSet(255 - data.test.images, wrong)
        return ImageData(data.name, data.classes, data.train, data.validation, poisoned, data.mean, data.std)

    load = task_module.load_data
    monkeypatch.setattr(task_module, "load_data", load_poisoned)
    assert outcome(run(tmp_path, strategy)) == outcome(whole)


@pytest.mark.parametrize("strategy", ["gdas", "darts", "evolution", "training"])
def test_a_search_does_not_even_open_the_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    def open_test() -> Any:
        raise AssertionError("a search looked at the test split")

    def load_guarded(*args: Any, **kwargs: Any) -> ImageData:
        data = load(*args, **kwargs)
        closed = Unopened(len(data.test), open_test)
        return ImageData(data.name, data.classes, data.train, data.validation, closed, data.mean, data.std)

    load = task_module.load_data
    monkeypatch.setattr(task_module, "load_data", load_guarded)
    run(tmp_path, strategy)


# --- as a user does it ---


def test_spaces_brackets_and_another_working_directory_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "my runs [1] ä"
    home.mkdir()
    config(home, "gdas")
    monkeypatch.chdir(home)
    assert main(["search", "gdas.yaml", "--out", "a run/", "--search.epochs", "3"]) == 0
    written = read_config(home / "a run" / "config.yaml")
    assert (written.search.epochs, written.space.width) == (3, 0.25)
    assert written.search.learning_rate == pytest.approx(0.05)


def test_a_run_on_a_relative_folder_of_images_is_found_again_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_folder: Callable[[Path], Path]
) -> None:
    image_folder(tmp_path / "pictures")
    given = config(tmp_path, "gdas")
    monkeypatch.chdir(tmp_path)
    options = ["--data.name", "pictures", "--data.max_train_images", "null", "--budget.max_macs", "200k"]
    assert main(["search", str(given), "--out", "run", *options]) == 0
    assert read_config(tmp_path / "run" / "config.yaml").data.name == str(tmp_path / "pictures")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    recipe = ["--recipe.epochs", "1", "--recipe.warmup_epochs", "0", "--seeds", "7"]
    assert main(["retrain", "../run", *recipe]) == 0
    assert (tmp_path / "run" / "retrain" / "winner" / "seed7" / "result.json").is_file()


@pytest.fixture
def image_folder() -> Callable[[Path], Path]:
    """Makes a folder of two classes of twelve grey images."""

    def make(root: Path) -> Path:
        from PIL import Image

        for label in range(2):
            (root / f"class{label}").mkdir(parents=True)
            for index in range(12):
                Image.new("L", (9, 12), 20 * index + label).save(root / f"class{label}" / f"{index}.png")
        return root

    return make


# --- the demo ---


def test_a_demo_does_the_whole_job_and_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = config(tmp_path, "gdas")
    values = yaml.safe_load(given.read_text())
    values["retrain"] = {"recipe": {"epochs": 1, "warmup_epochs": 0}, "seeds": [0]}
    given.write_text(yaml.safe_dump(values))
    monkeypatch.setattr(demo_module, "find_config", lambda name: given)
    out = tmp_path / "demo"

    def stop(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compare_module, "compare", stop)
        assert main(["demo", "--out", str(out)]) == 130
    winner = (out / "search" / "winner.json").read_bytes()
    assert main(["demo", "--out", str(out)]) == 2
    capsys.readouterr()
    assert main(["demo", "--out", str(out), "--resume"]) == 0
    assert winner == (out / "search" / "winner.json").read_bytes()
    said = capsys.readouterr().out
    table = rows(out / "report" / "comparison.csv")
    assert [row["network"].split(" (")[0] for row in table] == [
        "gdas winner",
        "mobilenetv3-small@fit",
        "random 1",
        "random 2",
    ]
    assert {row["in_budget"] for row in table} == {"True"}
    assert "gdas winner is" in said
    assert all(row["network"] in said for row in table)
    assert (out / "report" / "accuracy_macs.png").is_file()
    assert "The winner, block by block" in (out / "report" / "index.html").read_text(encoding="utf-8")
    assert {path.name for path in (out / "export").iterdir()} == {
        "architecture.json",
        "weights.safetensors",
        "preprocessing.json",
        "training.json",
        "model_card.md",
        "model.py",
        "model.pt2",
    }
