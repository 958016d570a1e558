"""The bench of a training step: what it reports, and that both sides of it do the same work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import experiments.bench_retrain as bench
from evaluators.recipes import Recipe
from search_space import baseline


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network and batches for which the bench takes a second; its process for memory is not told of them."""
    monkeypatch.setattr(bench, "BATCH", 8)
    monkeypatch.setattr(bench, "STEPS", 3)
    monkeypatch.setattr(bench, "baseline", lambda name: baseline(name, width=0.25))


def test_rows_are_named_ratios_of_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = {"ours": 3 * 2**20, "bare": 2 * 2**20}
    monkeypatch.setattr(bench, "_peak_in_a_process", lambda side, accelerator: peaks[side])
    rows = {row["name"]: row for row in bench.retrain_rows(2, "cpu")}
    assert all(set(row) == {"name", "value", "unit"} for row in rows.values())
    assert rows["retrain: peak memory ours / bare"] == {
        "name": "retrain: peak memory ours / bare",
        "value": 1.5,
        "unit": "x",
    }
    assert rows["retrain: peak memory, bare PyTorch"]["value"] == 2
    speeds = [rows[f"retrain: images a second, {side}"]["value"] for side in ("ours", "bare PyTorch")]
    assert all(speed > 8 for speed in speeds)
    ratio = rows["retrain: speed ours / bare, whole epochs"]["value"]
    assert ratio == pytest.approx(speeds[0] / speeds[1], rel=0.7)
    assert 0 < rows["retrain: input pipeline, share of a step"]["value"] < 100


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
        data = bench._images(24)
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
    grown = bench._peak("cpu")
    assert grown > block.nbytes == 96 * 2**20
    del block
    assert bench._peak("cpu") > grown - 2**20  # the kernel counts in batches of pages
