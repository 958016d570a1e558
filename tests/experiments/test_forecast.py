"""What a search would take: `sepnas search --dry-run`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.runs import complaint, tiny_config, tiny_values

import experiments.search.forecast as forecast_module
import experiments.search.timing as timing_module
from evaluators.training.run import TrainingRun
from experiments.cli import main
from experiments.runs.task import SearchTask
from experiments.search.forecast import retraining_phase, search_phases
from experiments.search.timing import SupernetTime, TrainingTime, part_of, random_networks, time_trainings

HALVING: dict[str, Any] = {
    "name": "halving",
    "options": {"trials": 9, "startup": 2, "rungs": 2, "reduction_factor": 4, "ahead": 4, "experience": []},
}


class Clock:
    """Stands for the module `time`: it goes on only when it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    time = perf_counter


def training(clock: Clock) -> Callable[..., None]:
    """A training whose first epoch takes 5 s, the others 2 s, and the rest 3 s; the first one 10 s more."""
    waits = iter([10.0])

    def retrain(network: Any, data: Any, recipe: Any, run: Any, *, on_epoch: Any) -> None:
        assert run.folder.is_dir()
        assert (run.train_on, recipe.warmup_epochs) == ("train", 0)
        clock.now += 3 + next(waits, 0.0)
        for epoch in range(recipe.epochs):
            clock.now += 2
            on_epoch({"epoch": epoch})

    return retrain


def test_a_training_is_told_apart_into_its_start_its_epochs_and_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(timing_module, "time", clock)
    monkeypatch.setattr(timing_module, "retrain", training(clock))
    config = tiny_config(search={"epochs": 7, "batch_size": 2, "warmup_epochs": 0})
    task = SearchTask(config)
    assert (len(task.data.train), len(part_of(task.data, 24).train)) == (64, 24)
    run = TrainingRun(train_on="train", measure_on="validation", accelerator="cpu")
    timed = time_trainings(
        task, config.search, run, random_networks(task, 2), processes=1, threads=1, measured_images=16 + 72
    )
    # 24 of 64 images took 2 s; of those that are measured only 16 were, and a third of a step's time goes into each
    assert timed.epoch == pytest.approx(2 / 24 * 64)
    assert timed.fixed == pytest.approx(3 + 72 * 2 / 24 / 3)
    assert timed.start == pytest.approx(10)
    assert timed.of(7) == pytest.approx(timed.fixed + 7 * timed.epoch)


def test_phases_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []

    def timed(*_: Any, **how: Any) -> TrainingTime:
        seen.append(how)
        return TrainingTime(epoch=2.0, fixed=1.0, start=5.0, memory=2**20)

    monkeypatch.setattr(forecast_module, "time_trainings", timed)
    monkeypatch.setattr(forecast_module, "_proposal_seconds", lambda *_: 1.0)
    monkeypatch.setattr(forecast_module, "peak_memory", lambda _: 2**30)
    search = {"epochs": 8, "batch_size": 32, "warmup_epochs": 0}
    retrain = {"seeds": [0, 1, 2], "recipe": {"epochs": 4, "batch_size": 32, "warmup_epochs": 0}}
    config = tiny_config(
        strategy=HALVING, search=search, retrain=retrain, jobs=2, finalists=3, finalist_seeds=2, budget={}
    )
    task = SearchTask(config)
    search_phase, finalists = search_phases(task)
    # 9 candidates for 2 epochs, two at once, 3 for 6 more; 9 proposals beside two trainings; 64 images are 2 steps
    assert search_phase.work == "9 + 3 trainings, 2 at once"
    assert search_phase.seconds == 5 + 5 * (1 + 4) + 2 * (1 + 12) + 9 / 2
    assert search_phase.steps == (9 * 2 + 3 * 6) * 2
    assert search_phase.memory == 2**30 + 2 * 2**20
    # without an upper bound no hand-designed network is a finalist
    assert (finalists.work, finalists.seconds) == ("3 + 2 trainings, 2 at once", 5 + (2 + 1) * (1 + 16))
    assert len(seen) == 1, "the same trainings are timed once"
    final = retraining_phase(task)
    # trained on 80 images, validation images included: 3 steps
    assert final.work == "sepnas retrain: 3 trainings, 2 at once"
    assert final.seconds == pytest.approx(5 + 2 * (1 + 4 * 2.0 * 80 / 64))
    assert final.steps == 3 * 4 * 3


def test_a_supernet_and_the_candidates_that_inherit_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    times = SupernetTime(warmup=1.0, epoch=3.0, fixed=2.0, memory=1)
    monkeypatch.setattr(forecast_module, "time_supernet", lambda *_: times)
    search = {"epochs": 5, "batch_size": 16, "warmup_epochs": 0}
    (only,) = search_phases(
        SearchTask(tiny_config(strategy={"name": "darts", "options": {"warmup_epochs": 2}}, search=search))
    )
    assert (only.name, only.seconds, only.steps) == ("supernet", 2 + 2 * 1 + 3 * 3, 5 * 4)
    evolution = tiny_config(strategy={"name": "evolution", "options": {"trials": 7, "population_size": 2}})
    supernet, trials = search_phases(SearchTask(evolution))
    assert (supernet.name, supernet.seconds) == ("supernet", 2 + 3)
    assert trials.work == "7 architectures by inherited weights"
    assert 0 < trials.seconds < 60


@pytest.mark.parametrize(
    ("strategy", "train_on"),
    [(HALVING, "train"), ({"name": "gdas", "options": {"warmup_epochs": 1}}, "train+validation")],
)
def test_a_dry_run_measures_says_what_it_takes_and_writes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    strategy: dict[str, Any],
    train_on: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(forecast_module, "NETWORKS", 1)
    values = tiny_values(
        strategy=strategy,
        search={"epochs": 8, "batch_size": 32, "warmup_epochs": 0},
        retrain={"seeds": [0], "train_on": train_on, "recipe": {"epochs": 2, "batch_size": 32, "warmup_epochs": 0}},
        budget={"max_macs": "120k"},
        jobs=1,
        finalists=2,
    )
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    assert main(["search", "config.yaml", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "reachable: macs" in printed
    assert "architectures, " in printed
    names = [line.split()[0] for line in printed.partition("memory\n")[2].splitlines()]
    searched = "search" if strategy is HALVING else "supernet"
    assert names[:4] == ["start", searched, "finalists", "retraining"]
    assert "the search takes about" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_dry_run_refuses_what_a_search_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    assert main(["search", "digits", "--dry-run", "--out", str(tmp_path / "mine")]) == 2
    assert "thesis.txt" in complaint(capsys)
    assert main(["search", "digits", "--dry-run", "--budget.max_macs", "1k"]) == 2
    assert "budget" in complaint(capsys)


def test_the_networks_that_are_timed_are_of_what_is_searched() -> None:
    task = SearchTask(tiny_config(budget={"max_macs": "120k"}))
    networks = random_networks(task, 4)
    assert networks == random_networks(SearchTask(replace(task.config)), 4)
    assert all(task.searched.admits(task.space.sample(network)) for network in networks)
