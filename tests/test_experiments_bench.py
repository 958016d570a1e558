"""``sepnas bench``: every figure is there, finite, and of the right order where that does not depend on the machine."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

import experiments.bench.budget as bench_budget
import experiments.bench.cost as bench_cost
import experiments.bench.mixture as bench_mixture
from experiments.cli import main
from search_space.candidates import SearchSpace
from search_space.space import SepConvSpace


def figures(rows: list[dict[str, Any]]) -> dict[str, float]:
    assert all(math.isfinite(row["value"]) for row in rows)
    return {row["name"].partition(",")[0]: row["value"] for row in rows}


def test_cost_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_cost, "PROFILED", ("dw_k3", "sep_k3", "skip"))
    found = figures(bench_cost.cost_rows(1))
    assert found["cost: MACs that differ from NNI's"] == 0
    assert found["cost: ratio ours / NNI's"] > 1


def test_budget_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_budget, "LABELS", 4)
    monkeypatch.setattr(bench_budget, "CANDIDATES", 6)
    monkeypatch.setattr(bench_budget, "INSTANCES", 3)
    monkeypatch.setattr(bench_budget, "DRAWS", 500)
    found = figures(bench_budget.budget_rows(1))
    assert 0 < found["sampling: share of the default space inside the budget"] < 1e-4
    assert found["sampling: architectures a second"] > 0


def test_mixture_is_measured_in_processes_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    space = SearchSpace.create(width=0.25, operators=("dw_k3", "skip"))
    monkeypatch.setattr(bench_mixture, "SepConvSpace", lambda: SepConvSpace(space))
    bench_mixture._measure("sepnas", "cpu", 1)
    printed = json.loads(capsys.readouterr().out)
    assert printed["seconds"] > 0
    assert printed["bytes"] >= 0
    monkeypatch.setattr(
        bench_mixture, "_measured", lambda kind, *_: {"seconds": 3.0 if kind == "nni" else 2.0, "bytes": 4.0}
    )
    assert figures(bench_mixture.mixture_rows(2, "cpu")) == {
        "darts: time of a pass": 1.5,
        "darts: peak memory": 1.0,
    }


def test_command_prints_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_budget, "INSTANCES", 1)
    monkeypatch.setattr(bench_budget, "DRAWS", 100)
    assert main(["bench", "budget", "--repeats", "1", "--json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert read["repeats"] == 1
    assert {row["name"].partition(":")[0] for row in read["results"]} == {"sampling", "argmax"}


def test_bad_requests_get_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "budget", "--repeats", "0"]) == 2
    assert capsys.readouterr().err == "sepnas: --repeats: 0 must be at least 1\n"
