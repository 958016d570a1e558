"""Successive halving: who goes on, how long it is trained, and that trainings go on where they were left."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.runs import outcome, rows, tiny_config
from helpers.spaces import Landscape, run_table

import experiments.runs.trainings as trainings_module
from evaluators import Recipe, load_data, retrain
from evaluators.training.optimizers import cycled_learning_rate_scale, learning_rate_scale
from evaluators.training.run import TrainingRun
from experiments.runs.scores import Score
from experiments.search.confirm import round_sizes
from experiments.search.search import search
from search_space import InvalidRequest, baseline
from strategies import SuccessiveHalving
from strategies.multi_trial.halving import HalvingOptions
from strategies.multi_trial.predictor import SHORT_TRAININGS, predict_scores


def test_the_best_of_each_rung_go_on() -> None:
    landscape = Landscape(1, labels=5, values=4)
    strategy = SuccessiveHalving(costs=landscape.costs, trials=8, rungs=3, reduction_factor=2, startup=4)
    seen: list[str] = []

    def score(sample: Any) -> float:
        seen.append(str(sample))
        return float(landscape(sample))

    asked = run_table(strategy, landscape, 100, score=score)
    keys = [str(sample) for sample, _ in asked]
    assert len(keys) == 8 + 4 + 2
    assert len(set(keys[:8])) == 8
    samples, values = [sample for sample, _ in asked[:8]], [value for _, value in asked[:8]]
    believed = predict_scores(landscape.costs, samples, values, samples, SHORT_TRAININGS)
    second = [keys[trial] for trial in np.argsort(believed)[:-5:-1]]
    assert keys[8:12] == second
    assert keys[12:] == sorted(second, key=lambda key: -values[keys.index(key)])[:2]


def test_noisy_scores_of_the_first_rung_are_smoothed() -> None:
    """One label decides, and one lucky score of a bad architecture is not believed."""
    rng = np.random.default_rng(0)
    landscape = Landscape(1, labels=5, values=4)
    strategy = SuccessiveHalving(costs=landscape.costs, trials=40, rungs=2, reduction_factor=8, startup=40)
    asked: list[Any] = []

    def score(sample: Any) -> float:
        asked.append(sample)
        lucky = 1.2 if len([one for one in asked if one["b0"] == 3]) == 1 and sample["b0"] == 3 else 0.0
        return float(sample["b0"] == 0) + lucky + 0.1 * rng.normal()

    run_table(strategy, landscape, 100, score=score)
    assert len(asked) == 45
    assert all(sample["b0"] == 0 for sample in asked[40:])


def test_what_has_no_score_does_not_go_on() -> None:
    landscape = Landscape(1, labels=5, values=4)
    strategy = SuccessiveHalving(costs=landscape.costs, trials=8, rungs=2, reduction_factor=2, startup=8)
    asked = run_table(strategy, landscape, 100, score=lambda sample: 1.0 if sample["b0"] == 0 else math.nan)
    assert all(sample["b0"] == 0 for sample, _ in asked[8:])


def test_epochs_of_the_rungs() -> None:
    assert HalvingOptions(rungs=3, reduction_factor=2).epochs_at_rungs(20) == (5, 10, 20)
    assert HalvingOptions(rungs=3, reduction_factor=3).epochs_at_rungs(20) == (2, 7, 20)
    assert HalvingOptions(rungs=3).epochs_at_rungs(3) == (1, 2, 3)
    assert HalvingOptions(rungs=1).epochs_at_rungs(7) == (7,)
    assert HalvingOptions(trials=9, rungs=3, reduction_factor=2).rung_sizes == (9, 5, 3)
    with pytest.raises(InvalidRequest, match=r"^strategy\.options\.rungs: 3 cannot be told apart by search\.epochs 2"):
        HalvingOptions(rungs=3).epochs_at_rungs(2)


def test_each_cycle_is_the_whole_schedule() -> None:
    recipe = Recipe(epochs=12, warmup_epochs=1)
    scale = cycled_learning_rate_scale(recipe, [30, 60, 120])
    short, long = learning_rate_scale(recipe, 30), learning_rate_scale(recipe, 60)
    assert [scale(step) for step in range(120)] == [
        *map(short, range(30)),
        *map(short, range(30)),
        *map(long, range(60)),
    ]
    assert scale(29) < 0.01 < 0.1 < scale(33)


def test_a_training_that_is_left_goes_on_to_the_bit(tmp_path: Path) -> None:
    data = load_data("digits", image_size=8, max_train_images=80)
    network = baseline("mobilenetv3-small", width=0.25, image_size=8, in_channels=1)
    recipe = Recipe(epochs=4, batch_size=32, warmup_epochs=1)
    run = TrainingRun(train_on="train", measure_on="validation", accelerator="cpu", cycles=(1, 2, 4))
    left = [retrain(network, data, recipe, run, folder=tmp_path, until=until) for until in (1, 2, 4)]
    whole = retrain(network, data, recipe, run)
    assert left[-1].loss == whole.loss
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(weight, left[-1].network.state_dict()[name]), name
    assert left[0].loss != left[1].loss


def halving(**more: Any) -> Any:
    options = {"trials": 4, "rungs": 2, "reduction_factor": 2, "startup": 2}
    return tiny_config(
        strategy={"name": "halving", "options": options},
        search={"epochs": 2, "batch_size": 32, "warmup_epochs": 0},
        budget={"max_macs": 110_000},
        **more,
    )


def test_processes_find_what_one_finds(tmp_path: Path) -> None:
    """With one thread each, so that figures are the same to the bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runs = [search(halving(jobs=jobs), tmp_path / f"{jobs}") for jobs in (1, 2)]
    finally:
        torch.set_num_threads(threads)
    assert outcome(runs[0].path) == outcome(runs[1].path)
    assert not runs[0].candidates.exists()


def test_finalists_and_fitted_networks_are_confirmed_by_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[str] = []

    def train(data: Any, architecture: Any, recipe: Any, run: TrainingRun) -> Score:
        trained.append(run.title)
        loss = {"mobilenetv3-small@fit": 0.5, "finalist 2": 0.2, "finalist 1": 0.29}.get(run.title, 0.3)
        return Score(1 - loss, loss + 0.01 * (run.seed % 3), 0.0, training_loss=loss)

    monkeypatch.setattr(trainings_module, "_train", train)
    out = tmp_path / "run"
    run = search(halving(jobs=1, **{"finalists": 2, "finalist_seeds": 2}), out)
    table = rows(run.finalists)
    assert {row["finalist"] for row in table} >= {"finalist 1", "finalist 2", "mobilenetv3-small@fit"}
    # the worse half is trained once
    assert {row["finalist"] for row in table if row["seed"] == "1"} == {"finalist 1", "finalist 2"}
    second = next(row["architecture"] for row in table if row["finalist"] == "finalist 2")
    assert str(run.read_winner()) == second
    assert "finalist 2 is left; mobilenetv3-small@fit" in capsys.readouterr().out
    # a search that is killed behind them trains none of them again
    run.winner.unlink()
    count = len(trained)
    search(halving(jobs=1, **{"finalists": 2, "finalist_seeds": 2}), out, resume=True)
    assert len(trained) == count
    assert str(run.read_winner()) == second


def test_rounds_leave_the_better_half_and_two_at_least() -> None:
    assert round_sizes(7, 4) == [7, 4, 2, 2]
    assert round_sizes(1, 2) == [1, 1]
    assert round_sizes(5, 1) == [5]


def test_a_killed_confirmation_keeps_its_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What later rounds said must not change who went on to them."""
    losses = {"finalist 1": [0.2, 0.9, 0.9], "finalist 2": [0.3, 0.1, 0.1], "mobilenetv3-small@fit": [0.4, 0.0, 0.0]}
    calls = Counter[str]()

    def train(data: Any, architecture: Any, recipe: Any, run: TrainingRun) -> Score:
        calls[run.title] += 1
        loss = losses.get(run.title, [0.5] * 99)[calls[run.title] - 1]
        if kill and calls[run.title] == 3:
            raise KeyboardInterrupt
        return Score(1 - loss, loss, 0.0, training_loss=loss)

    monkeypatch.setattr(trainings_module, "_train", train)
    options = halving(jobs=1, **{"finalists": 2, "finalist_seeds": 3})
    kill = True
    with pytest.raises(KeyboardInterrupt):
        search(options, tmp_path / "run")
    kill = False
    calls.subtract({title: 1 for title, count in calls.items() if count == 3})
    run = search(options, tmp_path / "run", resume=True)
    table = rows(run.finalists)
    assert [row["seed"] for row in table if row["finalist"] == "mobilenetv3-small@fit"] == ["0"]
    assert {row["finalist"] for row in table if row["seed"] == "2"} == {"finalist 1", "finalist 2"}
    assert str(run.read_winner()) == next(row["architecture"] for row in table if row["finalist"] == "finalist 2")


def test_a_hand_designed_network_wins_where_nothing_found_is_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        trainings_module,
        "_train",
        lambda data, architecture, recipe, run: Score(0.5, 0.1 if "@fit" in run.title else 0.4, 0.0, training_loss=0.4),
    )
    run = search(halving(jobs=1, **{"finalists": 2}), tmp_path / "run")
    assert "no searched network is better than mobilenetv3-small" in capsys.readouterr().out
    assert np.isclose(float(rows(run.finalists)[0]["validation_accuracy"]), 0.5)
    assert str(run.read_winner()) not in [row["architecture"] for row in rows(run.architectures)]


def test_finished_finalists_survive_a_kill_on_one_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = 0

    def train(data: Any, architecture: Any, recipe: Any, run: TrainingRun) -> Score:
        nonlocal trained
        if run.title == "finalist 2" and die:
            raise KeyboardInterrupt
        trained += "finalist" in run.title or "@fit" in run.title
        return Score(0.5, 0.5, 0.0, training_loss=0.5)

    monkeypatch.setattr(trainings_module, "_train", train)
    options = halving(jobs=1, **{"finalists": 2, "finalist_seeds": 1})
    die = True
    with pytest.raises(KeyboardInterrupt):
        search(options, tmp_path / "run")
    assert trained == 1
    die = False
    run = search(options, tmp_path / "run", resume=True)
    assert trained == len(rows(run.finalists)) >= 3  # none of them twice


def test_another_number_of_jobs_may_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainings_module, "_train", lambda *_: Score(0.5, 0.5, 0.0, training_loss=0.5))
    search(halving(jobs=1), tmp_path / "run")
    search(halving(jobs=2), tmp_path / "run", resume=True)


def test_what_one_rung_scores_may_be_proposed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainings_module, "_train", lambda *_: Score(0.5, 0.5, 0.0, training_loss=0.5))
    again = tiny_config(
        space={"width": 0.25, "operators": ["dw_k3"], "widths": [1.0]},
        strategy={"name": "random", "options": {"trials": 5, "scoring": "training", "dedup": False}},
    )
    assert len(rows(search(again, tmp_path / "run").architectures)) == 5
