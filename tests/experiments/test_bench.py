"""``sepnas bench``: every figure is there, and both sides of a comparison do the same work."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.processes import grow
from torch import nn

from experiments import bench
from experiments.bench import Row, in_own_process, peak_memory
from experiments.cli import main
from experiments.commands.timing import BENCHMARKS
from search_space import baseline
from search_space.candidates import SearchSpace
from search_space.space import SepConvSpace


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks, spaces and batches that take a second; processes of their own are not told of them."""
    small = SearchSpace.create(width=0.25, operators=("dw_k3", "skip"))
    monkeypatch.setattr(bench, "SearchSpace", SimpleNamespace(create=lambda: small))
    monkeypatch.setattr(bench, "SepConvSpace", lambda: SepConvSpace(small))
    monkeypatch.setattr(bench, "baseline", lambda name: baseline(name, width=0.25))
    monkeypatch.setattr(bench, "RECIPE", bench.replace(bench.RECIPE, batch_size=8))
    for name, size in {"NETWORKS": 2, "SEARCH_STEPS": 2, "SEARCH_BATCH": 8, "STEPS": 3, "BATCH": 8}.items():
        monkeypatch.setattr(bench, name, size)


def figures(rows: Iterable[Row]) -> dict[str, float]:
    rows = list(rows)
    assert all(np.isfinite(row.value) for row in rows)
    assert max(len(row.name) for row in rows) <= 60  # the width of the printed column
    values = {row.name: row.value for row in rows}
    assert len(values) == len(rows)
    return values


# --- what is measured ---


def test_step_figures(tiny: None) -> None:
    values = figures(bench.step_rows(1, "cpu"))
    assert list(values) == [
        "step: time, 2 random networks, each on its own",
        "step: time, gdas (weights and architecture)",
        "step: time, gdas (weights and architecture), ratio",
    ]
    assert min(values.values()) > 0


def test_rows_are_ratios_of_what_was_measured(tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by a second when it is read, and by another at each step of the bare loop."""
    peaks = {"ours": 3 * 2**20, "bare": 2 * 2**20}
    monkeypatch.setattr(bench, "in_own_process", lambda function, side, accelerator: peaks[side])
    time, bare_steps = 0.0, bench.bare_steps

    def read(device: str) -> float:
        nonlocal time
        time += 1
        return time

    def slower(*args: Any) -> Iterator[None]:
        nonlocal time
        for _ in bare_steps(*args):
            time += 1
            yield

    monkeypatch.setattr(bench, "now", read)
    monkeypatch.setattr(bench, "bare_steps", slower)
    assert {row.name: (row.value, row.unit) for row in bench.retrain_rows(2, "cpu")} == {
        "retrain: images per second, bare PyTorch": (4, "/s"),
        "retrain: images per second, ours": (8, "/s"),
        "retrain: images per second, ours, ratio": (2, "x"),
        "retrain: input pipeline, share of the time": (pytest.approx(100 / 6), "%"),
        "retrain: peak memory, bare PyTorch": (2, "MiB"),
        "retrain: peak memory, ours": (3, "MiB"),
        "retrain: peak memory, ours, ratio": (1.5, "x"),
    }


def test_a_gpu_is_timed_in_bf16_too(tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "in_own_process", lambda function, side, accelerator: 1)
    if not torch.cuda.is_available():  # the CPU stands in for one
        monkeypatch.setattr(bench, "pick_accelerator", lambda name: "cuda")
        monkeypatch.setattr(bench, "now", lambda device: bench.time.perf_counter())
        monkeypatch.setattr(bench, "_loader", lambda *args, load=bench._loader: load(*args[:2], "cpu"))
        monkeypatch.setattr(bench, "bare_steps", lambda *args, steps=bench.bare_steps: steps(*args[:2], "cpu"))
    trained, fit = [], bench.fit

    def watch(trainer: Any, *args: Any) -> None:
        trained.append(trainer.precision)
        fit(trainer, *args)

    monkeypatch.setattr(bench, "fit", watch)
    accelerator: Any = "cuda" if torch.cuda.is_available() else "cpu"
    assert figures(bench.retrain_rows(1, accelerator))["retrain: images per second, bf16"] > 0
    assert trained == ["32-true", "bf16-mixed"]


def test_the_clock_waits_for_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: order.append("wait"))
    monkeypatch.setattr(bench.time, "perf_counter", lambda: order.append("read") or 1.0)
    assert bench.now("cpu") == bench.now("cuda") == 1
    assert order == ["read", "wait", "read"]


def test_the_bare_loop_learns(tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is measured against: a step that it left out would make us look slow."""
    networks: list[nn.Module] = []
    build = bench.build

    def keep(architecture: Any) -> Any:
        networks.append(build(architecture))
        return networks[-1]

    monkeypatch.setattr(bench, "build", keep)
    steps = bench.bare_steps(bench.noise(24), bench.replace(bench.RECIPE, learning_rate=0.05), "cpu")
    next(steps)
    before = [p.detach().clone() for p in networks[0].parameters()]
    next(steps)
    assert all(not torch.equal(a, b) for a, b in zip(before, networks[0].parameters(), strict=True))
    assert sum(1 for _ in steps) == 1


@pytest.mark.parametrize("side", ["ours", "bare"])
def test_the_memory_of_a_training_is_what_it_adds(tiny: None, monkeypatch: pytest.MonkeyPatch, side: str) -> None:
    peaks = iter([5 * 2**20, 7 * 2**20])
    monkeypatch.setattr(bench, "peak_memory", lambda device: next(peaks))
    assert bench.training_peak(side, "cpu") == 2 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="where a process inherits the peak of the one that started it")
def test_a_large_process_does_not_hide_what_its_children_take() -> None:
    """The kernel hands ``ru_maxrss`` on to them, so by that their peak would not grow at all."""
    block = bytearray(512 * 2**20)
    taken = in_own_process(grow, 64 * 2**20)
    assert 60 * 2**20 < taken < 128 * 2**20
    assert len(block) < peak_memory("cpu")


def test_the_peak_is_in_bytes_and_stays_when_memory_is_freed() -> None:
    block = torch.ones(24 * 2**20)
    grown = peak_memory("cpu")
    assert grown > block.nbytes == 96 * 2**20
    del block
    assert peak_memory("cpu") > grown - 2**20  # the kernel counts in batches of pages


# --- the command ---


def broken(repeats: int, accelerator: str) -> Iterator[Row]:
    yield Row("first", 1.0, "x")
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_failing_benchmark_loses_no_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    for name in BENCHMARKS:
        monkeypatch.setitem(bench.ROWS, name, lambda *_, name=name: iter([Row(name, 2.0, "x")]))
    monkeypatch.setitem(bench.ROWS, "step", broken)
    assert main(["bench", *(["--json"] if as_json else [])]) == 1
    out, err = capsys.readouterr()
    names = ["retrain", "first"]
    if as_json:
        read = json.loads(out)
        assert (read["repeats"], [row["name"] for row in read["results"]]) == (5, names)
    else:
        assert [line.split()[0] for line in out.splitlines()[1:]] == names
    assert "sepnas: bench: step failed: ZeroDivisionError: division by zero" in err
    assert "step failed, see above; the other rows are complete" in err


def test_rows_are_printed_as_they_come(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []

    def rows(repeats: int, accelerator: str) -> Iterator[Row]:
        yield Row("first", 1.0, "x")
        seen.append(capsys.readouterr().out)
        yield Row("second", 2.0, "x")

    monkeypatch.setitem(bench.ROWS, "step", rows)
    assert main(["bench", "step", "--repeats", "1"]) == 0
    assert seen[0].splitlines()[1].split() == ["first", "1", "x"]
    assert capsys.readouterr().out.split() == ["second", "2", "x"]


def test_every_benchmark_that_is_listed_can_be_run() -> None:
    assert list(bench.ROWS) == list(BENCHMARKS)
