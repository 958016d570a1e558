"""``sepnas bench``: every figure is there, finite, and of the right order where that does not depend on the machine."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator
from types import SimpleNamespace

import pytest
from helpers.processes import grow

import experiments.bench.exact as bench_exact
import experiments.bench.run as bench_run
import experiments.bench.supernets as bench_supernets
from experiments.bench import BENCHMARKS
from experiments.bench.measuring import Row, in_own_process, peak_memory
from experiments.cli import main
from search_space.candidates import SearchSpace
from search_space.space import SepConvSpace


def figures(rows: Iterable[Row]) -> dict[str, float]:
    rows = list(rows)
    assert all(math.isfinite(row.value) for row in rows)
    return {row.name.partition(",")[0]: row.value for row in rows}


def test_cost_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_exact, "PROFILED", ("dw_k3", "sep_k3", "skip"))
    found = figures(bench_exact.cost_rows(1))
    assert found["cost: MACs that differ from NNI's"] == 0
    assert found["cost: ratio ours / NNI's"] > 1


def test_budget_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_exact, "LABELS", 4)
    monkeypatch.setattr(bench_exact, "CANDIDATES", 6)
    monkeypatch.setattr(bench_exact, "INSTANCES", 3)
    monkeypatch.setattr(bench_exact, "DRAWS", 500)
    found = figures(bench_exact.budget_rows(1))
    assert 0 < found["sampling: share of the default space inside the budget"] < 1e-4
    assert found["sampling: architectures per second"] > 0


def test_mixture_is_measured_in_processes_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    space = SearchSpace.create(width=0.25, operators=("dw_k3", "skip"))
    monkeypatch.setattr(bench_supernets, "SepConvSpace", lambda: SepConvSpace(space))
    measured = bench_supernets.mixture_pass("sepnas", "cpu")
    assert measured["seconds"] > 0
    assert measured["bytes"] >= 0
    asked = []

    def alone(function: object, kind: str, device: str) -> dict[str, float]:
        asked.append((function, kind, device))
        return {"seconds": 3.0 if kind == "nni" else 2.0, "bytes": 4.0}

    monkeypatch.setattr(bench_supernets, "in_own_process", alone)
    assert figures(bench_supernets.mixture_rows(2, "cpu")) == {
        "darts: time of a pass": 1.5,
        "darts: peak memory": 1.0,
    }
    assert asked == [(bench_supernets.mixture_pass, kind, "cpu") for kind in ("nni", "sepnas")] * 2


def test_step_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    small = SearchSpace.create(width=0.25, operators=("dw_k3", "skip"))
    monkeypatch.setattr(bench_supernets, "SearchSpace", SimpleNamespace(create=lambda: small))
    monkeypatch.setattr(bench_supernets, "SepConvSpace", lambda: SepConvSpace(small))
    monkeypatch.setattr(bench_supernets, "BATCH", 8)
    monkeypatch.setattr(bench_supernets, "STEPS", 2)
    rows = list(bench_supernets.step_rows(1, "cpu"))
    assert len({row.name for row in rows}) == 3
    assert min(row.value for row in rows) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="where a process inherits the peak of the one that started it")
def test_a_large_process_does_not_hide_what_its_children_take() -> None:
    """The kernel hands ``ru_maxrss`` on to them, so by that their peak would not grow at all."""
    block = bytearray(512 * 2**20)
    taken = in_own_process(grow, 64 * 2**20)
    assert 60 * 2**20 < taken < 128 * 2**20
    assert len(block) < peak_memory("cpu")


# --- the command ---


def broken(repeats: int, accelerator: str) -> Iterator[Row]:
    yield Row("first", 1.0, "x")
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_failing_benchmark_loses_no_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    for name in BENCHMARKS:
        monkeypatch.setitem(bench_run._ROWS, name, lambda *_, name=name: iter([Row(name, 2.0, "x")]))
    monkeypatch.setitem(bench_run._ROWS, "step", broken)
    assert main(["bench", *(["--json"] if as_json else [])]) == 1
    out, err = capsys.readouterr()
    names = ["cost", "budget", "first", "darts", "retrain"]
    if as_json:
        assert [row["name"] for row in json.loads(out)["results"]] == names
    else:
        assert [line.split()[0] for line in out.splitlines()[1:]] == names
    assert "sepnas: bench: step failed: ZeroDivisionError: division by zero" in err
    assert "step failed, see above; the other rows are whole" in err


def test_rows_are_printed_as_they_come(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []

    def rows(repeats: int, accelerator: str) -> Iterator[Row]:
        yield Row("first", 1.0, "x")
        seen.append(capsys.readouterr().out)
        yield Row("second", 2.0, "x")

    monkeypatch.setitem(bench_run._ROWS, "cost", rows)
    assert main(["bench", "cost", "--repeats", "1"]) == 0
    assert seen[0].splitlines()[1].split() == ["first", "1", "x"]
    assert capsys.readouterr().out.split() == ["second", "2", "x"]


def test_every_benchmark_that_is_listed_can_be_run() -> None:
    assert set(bench_run._ROWS) == set(BENCHMARKS)


def test_command_prints_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_exact, "INSTANCES", 1)
    monkeypatch.setattr(bench_exact, "DRAWS", 100)
    assert main(["bench", "budget", "--repeats", "1", "--json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert read["repeats"] == 1
    assert {row["name"].partition(":")[0] for row in read["results"]} == {"sampling", "argmax"}


def test_bad_requests_get_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "budget", "--repeats", "0"]) == 2
    assert capsys.readouterr().err == "sepnas: --repeats: 0 must be a whole number of at least 1\n"
