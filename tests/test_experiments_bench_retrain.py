"""The bench of a training step: what it reports, and that both sides of it do the same work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import experiments.bench.pipeline as bench_pipeline
import experiments.bench.precision as bench_precision
import experiments.bench.training as bench
from evaluators.training.recipes import Recipe
from experiments.bench.measuring import noise, peak_memory
from search_space import baseline


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network and batches for which the bench takes a second; its process for memory is not told of them."""
    monkeypatch.setattr(bench, "STEPS", 3)
    for module in (bench, bench_pipeline):
        monkeypatch.setattr(module, "BATCH", 8)
        monkeypatch.setattr(module, "baseline", lambda name: baseline(name, width=0.25))
    for counts in ("FEED_BATCHES", "TRAINED_BATCHES"):
        monkeypatch.setattr(bench_pipeline, counts, {"cpu": 3, "cuda": 3})
    monkeypatch.setattr(bench_pipeline, "MOST_WORKERS", 1)


def test_rows_are_named_ratios_of_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by a second when it is read, and by another at each step of the bare loop."""
    peaks = {"ours": 3 * 2**20, "bare": 2 * 2**20}
    monkeypatch.setattr(bench, "in_own_process", lambda function, side, accelerator: peaks[side])
    time, bare_steps = 0.0, bench._bare_steps

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
    monkeypatch.setattr(bench, "_bare_steps", slower)
    assert {row.name: (row.value, row.unit) for row in bench.training_rows(2, "cpu")} == {
        "retrain: images per second, bare PyTorch": (4, "/s"),
        "retrain: images per second, ours": (8, "/s"),
        "retrain: speed ours / bare, whole epochs": (2, "x"),
        "retrain: speed ours / bare, median of steps": (2, "x"),
        "retrain: input pipeline, share of a step": (pytest.approx(100 / 3), "%"),
        "retrain: peak memory, bare PyTorch": (2, "MiB"),
        "retrain: peak memory ours / bare": (1.5, "x"),
    }


def test_the_group_has_the_rows_of_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "in_own_process", lambda function, side, accelerator: 1)
    monkeypatch.setattr(bench, "precision_rows", lambda *_: pytest.fail("compiles, which takes minutes on a CPU"))
    rows = list(bench.retrain_rows(1, "cpu"))
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 74  # the width of the printed column
    assert all(name.startswith("retrain: ") for name in names)
    assert all(row.value > 0 for row in rows)
    for expected in (
        "retrain: speed ours / bare, whole epochs",
        "retrain: feed alone, ours / DataLoader of 1 workers",
        "retrain: training, fed by ours / by DataLoader of 1 workers",
    ):
        assert expected in names


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_compares_precisions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_precision, "BATCHES", (8,))
    monkeypatch.setattr(bench_precision, "STEPS", 3)
    monkeypatch.setattr(bench_precision, "baseline", lambda name, classes: baseline(name, classes=classes, width=0.25))
    rows = {row.name: row.value for row in bench.retrain_rows(1, "cuda")}
    assert rows["retrain: speed of bf16, channels last, compiled / plain, batch 8"] > 0


def test_the_bare_loop_learns() -> None:
    """It is measured against: a step that it left out would make us look slow."""
    networks: list[nn.Module] = []
    build = bench.build

    def keep(architecture: Any) -> Any:
        torch.manual_seed(0)
        network = build(architecture)
        networks.append(network)
        return network

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "build", keep)
        data = noise(24)
        recipe = Recipe(epochs=1, batch_size=8, warmup_epochs=0, learning_rate=0.05)
        steps = bench._bare_steps(data, recipe, "cpu")
        next(steps)
        before = [p.detach().clone() for p in networks[0].parameters()]
        next(steps)
        after = list(networks[0].parameters())
        assert sum(1 for _ in steps) == 1
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_bare_loops_crops_are_windows_of_the_padded_image() -> None:
    images = torch.arange(1, 1 + 4 * 4).reshape(1, 1, 4, 4).repeat(64, 1, 1, 1)
    padded = nn.functional.pad(images, (4, 4, 4, 4))[0, 0]
    windows = {
        tuple(view.flatten().tolist())
        for y in range(9)
        for x in range(9)
        for view in (padded[y : y + 4, x : x + 4], padded[y : y + 4, x : x + 4].flip(1))
    }
    seen = {tuple(image.flatten().tolist()) for image in bench._augmented(images)}
    assert seen <= windows
    assert len(seen) > 30


def test_the_peak_is_in_bytes_and_stays_when_memory_is_freed() -> None:
    block = torch.ones(24 * 2**20)
    grown = peak_memory("cpu")
    assert grown > block.nbytes == 96 * 2**20
    del block
    assert peak_memory("cpu") > grown - 2**20  # the kernel counts in batches of pages
