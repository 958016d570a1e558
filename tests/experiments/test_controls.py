"""Controls of a comparison: networks of the winner's budget, and what is said of the difference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import experiments.training.retrain as retrain_module
from experiments.comparison.compare import compare
from experiments.comparison.controls import check_names, controls
from experiments.comparison.rows import RANDOM, Row
from experiments.comparison.verdicts import verdict, verdicts
from experiments.options.config import DEFAULT_BASELINES, SearchConfig
from experiments.options.files import make_config
from experiments.runs.folder import RunFolder, open_run
from experiments.runs.provenance import provenance
from experiments.runs.task import SearchTask
from experiments.training.retrain import Result
from search_space import InvalidRequest, baseline, cost
from search_space.serialization import save_architecture
from strategies import Budget
from strategies.budget.feasible import FeasibleSet

BUDGET = 1_200_000


def config(**budget: Any) -> SearchConfig:
    values = {
        "data": {"name": "digits", "image_size": 16},
        "space": {"width": 0.5},
        "strategy": {"name": "gdas"},
        "budget": budget or {"max_macs": BUDGET},
        "retrain": {"recipe": {"epochs": 1, "warmup_epochs": 0}, "seeds": [0, 1, 2]},
        "jobs": 1,
    }
    return make_config(values, "test")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = open_run(tmp_path / "run", config().as_dict(), provenance(0, "cpu"), overwrite=False)
    winner = baseline("mobilenetv3-small-xsep", width=0.3, image_size=16, in_channels=1)
    save_architecture(winner, folder.winner)
    return folder


def test_all_default_controls_are_inside_the_budget_and_fill_it(run: RunFolder) -> None:
    task = SearchTask(config())
    networks = controls(list(DEFAULT_BASELINES), task, run)
    assert [control.name for control in networks] == [
        "mobilenetv3-small@fit",
        "mobilenetv3-small-xsep@fit",
        "random-1",
        "random-2",
        "random-3",
    ]
    for control in networks:
        assert 0.9 * BUDGET <= cost(control.network).macs <= BUDGET
        assert control.role == "control"
    assert len({control.network for control in networks}) == len(networks)
    assert networks == controls(list(DEFAULT_BASELINES), SearchTask(config()), run)  # the same every time


def test_params_bound_controls_as_well(run: RunFolder) -> None:
    bounds = {"max_macs": BUDGET, "max_params": 200_000}
    for control in controls(["mobilenetv3-small@fit", "random:4"], SearchTask(config(**bounds)), run):
        assert cost(control.network).params <= 200_000
        assert cost(control.network).macs <= BUDGET


def test_without_an_upper_bound_controls_are_as_large_as_the_winner(run: RunFolder) -> None:
    macs = cost(run.read_winner()).macs
    for control in controls(["mobilenetv3-small@fit", "random:2"], SearchTask(config(min_params=1)), run):
        assert 0.8 * macs <= cost(control.network).macs <= macs


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("mobilenet@fit", "^baselines: 'mobilenet' is unknown"),
        ("random:0", "^baselines.random: 0 must be a whole number of at least 1"),
        ("random:x", "^baselines: 'random:x' does not say how many random networks; write it like random:3"),
        ("random:99999", "^baselines: 'random:99999' does not say"),
        ("random", "^baselines: 'random' is unknown"),
        ("randm:3", "^baselines: 'randm:3' is unknown; known are .* did you mean random:3\\?$"),
    ],
)
def test_wrong_requests_are_refused(request_: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        check_names([request_])


def test_the_table_shows_controls_leads_and_a_verdict(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(function: Any, calls: list[Any], processes: int, **limits: Any) -> list[dict[str, Any]]:
        made = []
        for _data, name, _architecture, _config, seed, *_ in calls:
            accuracy = (0.9 + 0.002 * (seed == 1) if "winner" in name else 0.8) + 0.001 * seed * (
                1 + ("random" in name)
            )
            result = {"test_accuracy": accuracy, "seconds": 1.0, "test_images": 360, "provenance": provenance(0, "cpu")}
            made.append({"seed": seed, **result})
        return made

    monkeypatch.setattr(retrain_module, "run_each", trained)
    compare([run], [config()], ["mobilenetv3-small@fit", "random:2"], run.report)
    table = pd.read_csv(run.report / "comparison.csv").set_index("network")
    (fitted,) = (name for name in table.index if "@fit" in name)
    assert fitted == "mobilenetv3-small@fit (width 0.437)"
    assert table.loc[fitted, "lead_mean"] == pytest.approx(0.1 + 0.002 / 3)
    assert table.loc["random 1", "lead_mean"] == pytest.approx(0.099 + 0.002 / 3)
    assert table["in_budget"].all()
    text = (run.report / "comparison.md").read_text()
    assert f"gdas winner is better than {fitted} (+10.07 points" in text
    assert "better than the mean of 2 random networks of the budget (+9.97 points" in text
    assert "So the search for the gdas winner paid off." in text


def result(accuracies: list[float], name: str = "the winner", width: float = 0.25) -> Result:
    architecture = baseline("mobilenetv3-small", width=width)
    seeds = list(range(len(accuracies)))
    return Result(name, architecture, seeds, accuracies, [1.0] * len(seeds), 360, {})


@pytest.mark.parametrize(
    ("winner", "opponent", "words"),
    [
        ([0.90, 0.91, 0.92], [0.80, 0.81, 0.821], ["better than", "paid off."]),
        ([0.80, 0.81, 0.821], [0.90, 0.91, 0.92], ["worse than", "not shown that"]),
        ([0.80, 0.90, 0.85], [0.84, 0.81, 0.86], ["not distinguishable from", "too little to rule out chance"]),
        ([0.80, 0.80, 0.85], [0.84, 0.81, 0.86], ["not distinguishable from", "not shown that"]),
        ([0.9], [0.8], ["above", "one seed", "too little to rule out chance"]),
    ],
)
def test_verdicts_say_what_the_seeds_allow(winner: list[float], opponent: list[float], words: list[str]) -> None:
    text = verdict(result(winner), {"V3@fit": dict(enumerate(opponent))})
    for word in words:
        assert word in text


def test_a_winner_that_is_a_control_is_not_held_against_itself() -> None:
    budget, seen = Budget(max_macs=BUDGET), [0.90, 0.91, 0.92]
    winner = Row(result(seen), "gdas", budget, "winner")
    fitted = Row(result(seen, "V3@fit"), "mobilenetv3-small", budget, "control")
    random = Row(result([0.80, 0.81, 0.821], "random 1", width=0.2), RANDOM, budget, "control")
    (text,) = verdicts([winner, fitted, random])
    assert text.startswith(
        "the winner is V3@fit: nothing that the search found was better on the validation images, so"
    )
    assert "the winner is better than a random network of the budget (+9.97 points" in text
    assert text.count("V3@fit") == 1
    assert "paid off" not in text


@pytest.mark.parametrize(
    "budget",
    [
        Budget(max_macs=BUDGET),
        Budget(max_params=200_000),
        Budget(max_macs=BUDGET, max_params=180_000),
        Budget(max_macs=10**9, max_params=200_000),
        Budget(max_macs=10**9),
        Budget(),
    ],
)
def test_the_top_part_is_inside_and_full(budget: Budget) -> None:
    task = SearchTask(replace(config(), budget=budget))
    part = FeasibleSet(task.table, budget).top_part(0.85)
    assert part.count > 0
    rows = part.sample_many(np.random.RandomState(0), 50)
    costs = task.table.evaluate(rows, ("macs", "params"))
    assert budget.inside(costs).all()
    reachable = task.table.reachable()
    uses = [
        costs[metric] / min(high or reachable[metric][1], reachable[metric][1])
        for metric, (_, high) in ({"macs": (None, None)} | budget.bounds()).items()
    ]
    assert max(use.min() for use in uses) >= 0.8


def test_lower_bounds_do_not_hide_what_fits_below_the_upper_ones() -> None:
    task = SearchTask(config(max_macs=BUDGET, min_macs=BUDGET // 2))
    network, _ = task.fitted("mobilenetv3-small")
    assert 0.9 * BUDGET <= cost(network).macs <= BUDGET
    with pytest.raises(InvalidRequest, match=r"^baseline: mobilenetv3-small@fit costs .* is outside"):
        SearchTask(config(max_macs=BUDGET, min_params=500_000)).fitted("mobilenetv3-small")


def test_more_random_controls_begin_with_the_same_ones(run: RunFolder) -> None:
    three, five = (controls([f"random:{count}"], SearchTask(config()), run) for count in (3, 5))
    assert three == five[:3]
    assert len({control.network for control in five}) == 5
