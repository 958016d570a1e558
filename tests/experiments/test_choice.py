"""The strategy that stands for whichever suits the time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.runs import Killed, tiny_config

import experiments.search.choice as choice_module
import experiments.search.search as search_module
from experiments.options.config import SearchConfig, StrategyConfig, seconds
from experiments.options.files import read_config
from experiments.runs.task import SearchTask
from experiments.search.choice import choose, training_seconds
from experiments.search.search import search
from search_space.base.errors import InvalidRequest
from strategies.multi_trial.halving import HalvingOptions


def auto(**more: Any) -> SearchConfig:
    return tiny_config(**{"strategy": {"name": "auto"}, "jobs": 2, **more})


@pytest.mark.parametrize(
    ("time", "each", "name", "reason"),
    [
        (None, 120.1, "gdas", "29 trainings of about 2 min fit 30m with 2 at once, and 30 are needed to"),
        (None, 120.0, "halving", "30 trainings of about 2 min fit 30m with 2 at once, and 30 are enough to"),
        ("10m", 60.0, "gdas", "20 trainings of about 60 s fit 10m with 2 at once"),
        ("1.5h", 5.5, "halving", "1,963 trainings of about 5.5 s fit 1.5h with 2 at once"),
    ],
)
def test_real_trainings_are_searched_by_if_enough_fit(time: str | None, each: float, name: str, reason: str) -> None:
    strategy, why = choose(auto(time=time), each)
    assert strategy.name == name
    assert why.startswith(reason)


def test_halving_takes_the_candidates_that_fit_the_time_beside_the_finalists() -> None:
    recipe = {"epochs": 8, "batch_size": 32, "warmup_epochs": 0}
    config = auto(time="40m", search=recipe, finalists=6, finalist_seeds=5, jobs=6)
    options = choose(config, 144.0)[0].typed_options()  # 100 trainings, less 8, 4, 2, 2 and 2 of finalists
    assert isinstance(options, HalvingOptions)
    # of each 16 candidates 16 are trained for 2 epochs and 4 for 6 more: 7 whole trainings of the 82
    assert options.trials == 187
    assert options.ahead == 6
    assert choose(auto(search=recipe), 60.0)[0].typed_options() == HalvingOptions()  # as many as usual
    little = choose(auto(time="40m", search=recipe, finalists=6, finalist_seeds=5, jobs=6), 480.0)[0].typed_options()
    assert isinstance(little, HalvingOptions)
    assert little.trials == 27  # 12 trainings


def test_short_recipes_get_fewer_rungs() -> None:
    options = choose(auto(search={"epochs": 2, "warmup_epochs": 0}), 1.0)[0].typed_options()
    assert isinstance(options, HalvingOptions)
    assert options.rungs == 2


def test_the_forecast_is_of_whole_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    config = auto(search={"epochs": 7, "batch_size": 2, "warmup_epochs": 0})
    seen: list[int] = []

    def retrain(network: Any, data: Any, recipe: Any, run: Any, *, on_epoch: Any) -> None:
        seen.append(len(data.train))
        assert (run.train_on, run.measure_on, recipe.epochs) == ("train", "validation", 2)
        on_epoch({"seconds": 100.0})
        on_epoch({"seconds": 1.0 * len(seen)})

    monkeypatch.setattr(choice_module, "retrain", retrain)
    # 24 of 64 images take 1, 2 and 3 seconds
    assert training_seconds(config, SearchTask(config)) == pytest.approx(2 / 24 * 64 * 7)
    assert seen == [24, 24, 24]


def test_a_search_says_what_it_chose_and_a_killed_one_keeps_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = auto(jobs=1, time="30s")
    monkeypatch.setattr(search_module, "_score_one_by_one", _killed)
    assert training_seconds(config, SearchTask(config)) > 0  # by trainings as they are
    monkeypatch.setattr(choice_module, "training_seconds", lambda *_: 0.9)
    with pytest.raises(Killed):
        search(config, tmp_path / "run")
    assert "strategy: halving with 33 trials, as 33 trainings of about 0.9 s fit 30s" in capsys.readouterr().out
    kept = read_config(tmp_path / "run" / "config.yaml")
    assert kept.strategy == StrategyConfig("halving", {"trials": 33, "rungs": 1})
    assert kept.time is None
    monkeypatch.setattr(choice_module, "training_seconds", lambda *_: 1e9)  # a busy machine must not change the search
    with pytest.raises(Killed):
        search(config, tmp_path / "run", resume=True)
    with pytest.raises(InvalidRequest, match=r"^out: .* already holds a run; --resume continues it"):
        search(config, tmp_path / "run")
    assert "strategy:" not in capsys.readouterr().out
    run = search(auto(jobs=1, time="1s"), tmp_path / "run", overwrite=True)
    assert read_config(run.config).strategy.name == "gdas"
    assert run.winner.exists()


def _killed(*arguments: Any) -> None:
    raise Killed


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"strategy": {"name": "auto", "options": {"trials": 3}}},
            "strategy.options.trials: 3 belongs to one strategy, and auto may choose another; set strategy.name",
        ),
        ({"strategy": {"name": "gdas"}, "time": "30m"}, "time: '30m' has no effect with strategy.name gdas; leave one"),
        ({"time": "half an hour"}, "time: 'half an hour' is not a time above 0; write it like 90s, 30m or 2h"),
        ({"time": "0m"}, "time: '0m' is not a time above 0"),
    ],
)
def test_wrong_times_are_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        auto(**values)
    assert text in str(refused.value)


def test_units_of_time() -> None:
    assert [seconds("time", text) for text in ("90s", "30m", "1.5h")] == [90, 1800, 5400]
