"""The report card of a supernet: what it measures, and that nothing is measured twice."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers.runs import Killed, rows
from PIL import Image
from scipy.stats import kendalltau

import experiments.rank.rank as rank_module
import experiments.runs.task as task_module
import experiments.runs.trainings as trainings_module
import experiments.search.supernets as supernets_module
from evaluators.base.progress import progress_bar
from evaluators.data.images import ImageData, ImageSet
from evaluators.training.recipes import Recipe
from evaluators.training.run import TrainingDiverged
from experiments.cli import main
from experiments.options.config import SearchConfig
from experiments.options.files import read_config
from experiments.rank.rank import rank
from experiments.runs.folder import RunFolder, find_run
from search_space.architecture import Architecture
from search_space.base.errors import InvalidRequest
from search_space.candidates import SearchSpace
from search_space.network_cost import cost
from search_space.notation import parse

BUDGET = 60_000
N = 5
REPORT = {"about.json", "scores.csv", "trials.csv", "rank.csv", "rank.json", "rank.md", "rank.png"}


def searched(folder: Path, strategy: dict[str, Any]) -> Path:
    values = {
        "data": {"name": "digits", "image_size": 8, "max_train_images": 80},
        "space": {"width": 0.25, "operators": ["dw_k3", "sep_k3", "skip"]},
        "budget": {"max_macs": BUDGET},
        "strategy": strategy,
        "search": {"epochs": 2, "batch_size": 32, "learning_rate": 0.05},
        "retrain": {"recipe": {"epochs": 2, "batch_size": 32, "learning_rate": 0.05}},
        "accelerator": "cpu",
        "jobs": 1,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    assert main(["search", str(path), "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with a trained supernet."""
    options = {"trials": 2, "population_size": 1, "sample_size": 1}
    return find_run(searched(tmp_path_factory.mktemp("evolution"), {"name": "evolution", "options": options}))


@pytest.fixture(scope="module")
def ranked(finished: RunFolder) -> Path:
    """The folder of its ranking, made in one go."""
    rank(finished, config_of(finished), n=N)
    return finished.path / "rank"


def config_of(run: RunFolder) -> SearchConfig:
    return read_config(run.config)


def accuracies(folder: Path) -> list[dict[str, str]]:
    """What must not depend on how often a ranking was interrupted."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows(folder / "rank.csv")]


def counting(
    monkeypatch: pytest.MonkeyPatch, stand_in: Callable[[int, Architecture], None] = lambda call, architecture: None
) -> list[tuple[str, int]]:
    """Every training that is begun, as (architecture, seed); ``stand_in`` may raise instead."""
    begun: list[tuple[str, int]] = []
    original = trainings_module.retrain

    def retrain(architecture: Architecture, *args: Any, **options: Any) -> Any:
        begun.append((str(architecture), args[-1].seed))
        stand_in(len(begun), architecture)
        return original(architecture, *args, **options)

    monkeypatch.setattr(trainings_module, "retrain", retrain)
    return begun


# --- what it leaves ---


def test_the_report_holds_each_architecture_with_its_accuracies(ranked: Path) -> None:
    assert {path.name for path in ranked.iterdir()} == REPORT
    found = rows(ranked / "rank.csv")
    assert list(found[0]) == [
        "macs", "params", "predicted", "standalone_accuracy", "seed0_accuracy", "seed1_accuracy", "failed",
        "top_fifth", "seconds", "architecture",
    ]  # fmt: skip
    assert len({row["architecture"] for row in found}) == len(found) == N
    macs = [int(row["macs"]) for row in found]
    assert macs == sorted(macs)
    assert macs[-1] <= BUDGET
    best = max(float(row["standalone_accuracy"]) for row in found)
    for row in found:
        own = cost(parse(row["architecture"]))
        assert (int(row["macs"]), int(row["params"])) == (own.macs, own.params)
        seeds = [float(row["seed0_accuracy"]), float(row["seed1_accuracy"])]
        assert float(row["standalone_accuracy"]) == pytest.approx(sum(seeds) / 2)
        assert row["failed"] == "False"
        assert (row["top_fifth"] == "True") == (float(row["standalone_accuracy"]) >= best - 1e-6)
        for value in seeds:  # of 16 validation images
            assert 16 * value == pytest.approx(round(16 * value))
        assert float(row["predicted"]) < 0  # minus a loss


def test_the_figures_are_those_of_the_rows(ranked: Path) -> None:
    found = rows(ranked / "rank.csv")
    made = json.loads((ranked / "rank.json").read_text())
    tau = made["kendall_tau_b"]
    numbers = ("predicted", "standalone_accuracy", "seed0_accuracy", "seed1_accuracy", "macs")
    columns = {name: [float(row[name]) for row in found] for name in numbers}
    mean = np.round(columns["standalone_accuracy"], 6)
    wanted = {
        "predicted": kendalltau(columns["predicted"], mean).statistic,
        "ceiling": kendalltau(columns["seed0_accuracy"], columns["seed1_accuracy"]).statistic,
        "macs": kendalltau(columns["macs"], mean).statistic,
    }
    given = {"predicted": tau["predicted"], "ceiling": tau["ceiling"], "macs": tau["costs"]["macs"]}
    for name, value in wanted.items():
        if math.isnan(value):
            assert given[name]["value"] is None
        else:
            assert given[name]["value"] == pytest.approx(value)
    assert (made["architectures"], made["seeds"], made["failed"]) == (N, [0, 1], [])
    assert made["recipe"]["epochs"] == 2
    page = (ranked / "rank.md").read_text()
    assert made["verdict"]["text"] in page
    assert "noise ceiling" in page
    assert "top fifth by stand-alone accuracy | n/a | n/a |" in page  # too few
    with Image.open(ranked / "rank.png") as picture:
        assert picture.width > 500


def test_the_inherited_loss_is_the_one_the_search_gave(finished: RunFolder, tmp_path: Path) -> None:
    config = config_of(finished)
    found = rows(finished.architectures)
    assert {row["measure"] for row in found} == {"negative_validation_loss"}
    scored = {row["architecture"]: (float(row["accuracy"]), -float(row["score"])) for row in found}
    space = SearchSpace.create(config.space, image_size=8, in_channels=1, classes=10)
    chosen = [space.sample(parse(text)) for text in scored]
    task = task_module.SearchTask(config)
    record = rank_module.ScoreTable(tmp_path / "scores.csv")
    with progress_bar(len(chosen), "rank", "result", shown=False) as bar:
        rank_module._score_inherited(finished, task, chosen, record, bar)
    again = rank_module.ScoreTable(tmp_path / "scores.csv")  # as it is on disk
    for text, score in scored.items():
        kept = again.get("supernet", parse(text))
        assert kept is not None
        assert (kept.accuracy, kept.loss) == score


# --- interruptions ---


def test_wherever_it_is_killed_it_goes_on_and_nothing_is_trained_twice(
    finished: RunFolder, ranked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rank"

    def kill(call: int, architecture: Architecture) -> None:
        if call == 4:
            raise Killed

    with monkeypatch.context() as patch:
        first = counting(patch, kill)
        with pytest.raises(Killed):
            rank(finished, config_of(finished), n=N, folder=out)
    assert len(rows(out / "scores.csv")) == N + 3
    with (out / "scores.csv").open("a") as stream:
        stream.write("seed0,0.12")  # a row that was being written
    with monkeypatch.context() as patch:
        second = counting(patch)
        rank(finished, config_of(finished), n=N, folder=out)
    assert len(second) == 2 * N - 3
    assert len(set(first[:3] + second)) == 2 * N
    assert accuracies(out) == accuracies(ranked)
    assert {path.name for path in out.iterdir()} == REPORT

    def forbid(*args: Any, **options: Any) -> None:
        raise AssertionError("measured twice")

    before = (out / "scores.csv").read_bytes()
    monkeypatch.setattr(trainings_module, "retrain", forbid)
    monkeypatch.setattr(rank_module, "InheritedQuality", forbid)
    monkeypatch.setattr(supernets_module, "supernet", forbid)
    rank(finished, config_of(finished), n=N, folder=out)
    rank(finished, config_of(finished), n=N, seeds=[0], folder=out)  # a part of what is there
    assert (out / "scores.csv").read_bytes() == before
    assert "seed1_accuracy" not in rows(out / "rank.csv")[0]
    assert json.loads((out / "rank.json").read_text())["kendall_tau_b"]["ceiling"] is None


def test_a_training_killed_between_its_epochs_goes_on(
    finished: RunFolder, ranked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rank"
    epochs: list[float] = []
    original = trainings_module.metrics_writer

    def writer(path: Path, phase: str) -> Callable[[dict[str, float]], None]:
        write = original(path, phase)

        def kill(figures: dict[str, float]) -> None:
            write(figures)
            epochs.append(figures["epoch"])
            if len(epochs) == 4:  # in the second epoch of the second training; its first is on disk
                raise Killed

        return kill

    monkeypatch.setattr(trainings_module, "metrics_writer", writer)
    with pytest.raises(Killed):
        rank(finished, config_of(finished), n=N, folder=out)
    assert len(list((out / "training").glob("*/last.ckpt"))) == 1
    rank(finished, config_of(finished), n=N, folder=out)
    assert epochs[:4] == [0, 1, 0, 1]
    assert epochs[4] == 1  # not from the start
    assert len(epochs) == 2 * 2 * N + 1
    assert accuracies(out) == accuracies(ranked)


def test_another_seed_is_added_to_what_is_there(
    finished: RunFolder, ranked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rank"
    shutil.copytree(ranked, out)
    begun = counting(monkeypatch)
    rank(finished, config_of(finished), n=N, seeds=[0, 1, 2], folder=out)
    assert [seed for _, seed in begun] == [2] * N
    assert len(rows(out / "scores.csv")) == 4 * N


# --- failures ---


def test_a_training_that_diverges_is_listed_and_left_out(
    finished: RunFolder, ranked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = rows(ranked / "rank.csv")[2]["architecture"]
    out = tmp_path / "rank"
    shutil.copytree(ranked, out)
    lines = (out / "scores.csv").read_text().splitlines()
    kept = [line for line in lines if not (line.startswith("seed1") and bad in line)]
    (out / "scores.csv").write_text("\n".join(kept) + "\n")

    def diverge(call: int, architecture: Architecture) -> None:
        raise TrainingDiverged("the loss is nan")

    begun = counting(monkeypatch, diverge)
    report = rank(finished, config_of(finished), n=N, folder=out)
    assert begun == [(bad, 1)]
    assert [row["failed"] for row in rows(out / "rank.csv")] == ["False", "False", "True", "False", "False"]
    assert report.agreement.n == N - 1
    assert report.verdict.kind == "too few"
    page = (out / "rank.md").read_text()
    assert f"1 of {N} architectures had a training that diverged" in page
    assert f"`{bad}`" in page
    rank(finished, config_of(finished), n=N, folder=out)
    assert len(begun) == 1  # it is on record


def test_if_every_training_diverges_the_ranking_says_so(
    finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(call: int, architecture: Architecture) -> None:
        raise TrainingDiverged("the loss is nan")

    counting(monkeypatch, diverge)
    with pytest.raises(
        RuntimeError,
        match=r"^8 of 8 trials failed, more than max_failed 0.5 allows; most often \(8 times\): the loss is nan",
    ):
        rank(finished, config_of(finished), n=N, folder=tmp_path / "rank")


def test_the_test_split_is_never_looked_at(
    finished: RunFolder, ranked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Guarded(ImageData):
        @property
        def test(self) -> ImageSet:  # type: ignore[override]
            raise AssertionError("a ranking looked at the test split")

    def load_guarded(*args: Any, **kwargs: Any) -> ImageData:
        data = load(*args, **kwargs)
        guarded = object.__new__(Guarded)
        guarded.__dict__.update({key: value for key, value in vars(data).items() if key != "test"})
        return guarded

    load = task_module.load_data
    monkeypatch.setattr(task_module, "load_data", load_guarded)
    monkeypatch.setattr(task_module, "describe", lambda data: "guarded")
    rank(finished, config_of(finished), n=N, seeds=[0], folder=tmp_path / "rank")
    alone = [row["seed0_accuracy"] for row in rows(tmp_path / "rank" / "rank.csv")]
    assert alone == [row["seed0_accuracy"] for row in rows(ranked / "rank.csv")]


# --- requests that cannot be met ---


def test_a_run_without_a_supernet_is_refused(tmp_path: Path) -> None:
    run = find_run(searched(tmp_path, {"name": "gdas"}))
    with pytest.raises(InvalidRequest) as refused:
        rank(run, config_of(run))
    assert str(refused.value) == (
        f"run: {run.path} has neither a trained supernet nor scores of trainings to rank by; give a run of evolution"
        ' (or random, ...) with scoring "supernet", once its supernet is trained, or a run of halving'
    )
    assert not (run.path / "rank").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"n": 4}, "n: 4 architectures have no meaningful rank correlation; give 5 or more, 30 say"),
        ({"seeds": [0, 0]}, "seeds: [0, 0] must be one or more different whole numbers below 4294967296"),
        ({"seeds": []}, "seeds: [] must be one or more different"),
        ({"seeds": [-1]}, "seeds: [-1] must be one or more different"),
        ({"recipe": Recipe(precision="fp16")}, "recipe.precision: fp16 needs a GPU"),
    ],
)
def test_requests_that_cannot_work_are_refused(
    finished: RunFolder, tmp_path: Path, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        rank(finished, config_of(finished), folder=tmp_path / "rank", **options)
    assert text in str(refused.value)
    assert not (tmp_path / "rank").exists()


def test_results_made_another_way_stay_unless_they_may_be_overwritten(
    finished: RunFolder, ranked: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rank"
    shutil.copytree(ranked, out)
    config = config_of(finished)
    one_epoch = replace(config.retrain.recipe, epochs=1, warmup_epochs=0.0)
    before = (out / "scores.csv").read_bytes()
    with pytest.raises(InvalidRequest) as refused:
        rank(finished, config, n=N, folder=out, recipe=one_epoch)
    assert str(refused.value) == (
        f"out: {out} holds a ranking made differently: recipe.epochs was 2 and is now 1; --overwrite deletes it"
    )
    assert (out / "scores.csv").read_bytes() == before
    rank(finished, config, n=N, folder=out, recipe=one_epoch, seeds=[3], overwrite=True)
    assert {row["measure"] for row in rows(out / "scores.csv")} == {"supernet", "seed3"}


def test_a_folder_with_something_else_is_left_alone(finished: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear reader")
    with pytest.raises(InvalidRequest) as refused:
        rank(finished, config_of(finished), folder=tmp_path, overwrite=True)
    assert str(refused.value) == (
        f"out: {tmp_path} holds letter.txt, which is not part of a ranking; give an empty or new folder"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
