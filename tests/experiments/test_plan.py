"""What the bars of a search say of all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.runs import tiny_config

import experiments.search.search as search_module
from experiments.runs.task import SearchTask
from experiments.search.plan import FINALISTS, SEARCH, SUPERNET, Plan, plan_of
from experiments.search.search import search


def plan(strategy: dict[str, Any], **more: Any) -> Plan:
    return plan_of(SearchTask(tiny_config(strategy=strategy, **more)))


def test_bars_of_parts_of_different_kinds_tell_which_part_it_is() -> None:
    gdas = plan({"name": "gdas"}, finalists=2)
    assert (gdas.parts, gdas.work) == ((SUPERNET, FINALISTS), None)
    assert gdas.title(FINALISTS, "finalists") == "finalists, part 2 of 2"
    evolution = plan({"name": "evolution", "options": {"trials": 3}}, finalists=2)
    assert evolution.title(SUPERNET, "search (evolution)") == "search (evolution), part 1 of 3"
    assert evolution.title(SEARCH, "evolution") == "evolution, part 2 of 3"
    assert plan({"name": "gdas"}).title(SUPERNET, "search (gdas)") == "search (gdas)"


def test_real_trainings_are_counted_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[Plan] = []

    def planned(task: SearchTask) -> Plan:
        plans.append(plan_of(task))
        return plans[-1]

    monkeypatch.setattr(search_module, "plan_of", planned)
    options = {"trials": 4, "startup": 2, "rungs": 2, "reduction_factor": 2, "experience": []}
    config = tiny_config(
        strategy={"name": "halving", "options": options},
        search={"epochs": 2, "batch_size": 64, "warmup_epochs": 0},
        budget={"max_macs": "120k"},
        jobs=1,
        finalists=1,
        finalist_seeds=1,
    )
    run = search(config, tmp_path / "run")
    (first,) = plans
    assert first.work is not None
    assert first.title(SEARCH, "halving") == "halving"
    finalists = len(run.finalists.read_text().splitlines()) - 1
    # four candidates and two of them again, an epoch each; finalists for two epochs
    assert list(first.epochs) == [1] * 6
    assert first.work.done == 6 + 2 * finalists == first.work.units
    assert first.work.left == 0
    run.winner.unlink()
    search(config, tmp_path / "run", resume=True)
    assert plans[1].work is not None
    assert (plans[1].work.units, plans[1].work.done) == (0, 0), "what is on record took no time here"
