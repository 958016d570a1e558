"""Comparisons: the figures of the table, how they were made, the picture, names that are told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.trainings import files, make_run, result
from PIL import Image

import experiments.training.retrain as retrain_module
from experiments.cli import main
from experiments.comparison.compare import compare
from experiments.options.files import read_config
from experiments.runs.folder import RunFolder
from search_space.network_cost import cost
from search_space.notation import parse
from search_space.serialization import load_architecture

# --- comparison ---


def test_the_table_holds_the_figures_of_the_results(compared: tuple[Path, Path]) -> None:
    one, two = compared
    table = pd.read_csv(one / "report" / "comparison.csv")
    assert list(table.columns) == [
        "network",
        "macs",
        "flops_2x",
        "params",
        "in_budget",
        "n",
        "test_accuracy_mean",
        "test_accuracy_std",
        "test_accuracy_low95",
        "test_accuracy_high95",
        "seconds_mean",
        "lead_mean",
        "lead_low95",
        "lead_high95",
        "lead_p",
        "family",
        "role",
        "architecture",
        "latency_ms",
        "reference",
        "difference_mean",
        "difference_low95",
        "difference_high95",
        "difference_p",
    ]
    assert list(table["network"]) == ["gdas winner (one)", "gdas winner (two)", "mobilenetv3-small"]
    assert list(table["role"]) == ["winner", "winner", "baseline"]
    assert list(table["family"]) == ["gdas", "gdas", "mobilenetv3-small"]
    homes = [one / "retrain" / "winner", two / "retrain" / "winner", one / "retrain" / "mobilenetv3-small"]
    for row, home in zip(table.to_dict("records"), homes, strict=True):
        results = [result(home, seed) for seed in (0, 1)]
        accuracies = [made["test_accuracy"] for made in results]
        network = load_architecture(home / "architecture.json")
        assert parse(row["architecture"]) == network
        own = cost(network)
        assert (row["macs"], row["flops_2x"], row["params"]) == (own.macs, 2 * own.macs, own.params)
        assert row["in_budget"] == (own.macs <= 80_000)
        assert row["n"] == 2
        assert row["test_accuracy_mean"] == pytest.approx(np.mean(accuracies))
        assert row["test_accuracy_std"] == pytest.approx(np.std(accuracies, ddof=1))
        # the 97.5 % quantile of Student's t with one degree of freedom, from a printed table
        half = 12.706 * np.std(accuracies, ddof=1) / np.sqrt(2)
        assert row["test_accuracy_low95"] == pytest.approx(max(0, np.mean(accuracies) - half), abs=1e-4)
        assert row["test_accuracy_high95"] == pytest.approx(min(1, np.mean(accuracies) + half), abs=1e-4)
        assert row["seconds_mean"] == pytest.approx(np.mean([made["seconds"] for made in results]))
    assert set(table["in_budget"]) == {True, False}


def test_the_report_says_how_the_figures_were_made(compared: tuple[Path, Path]) -> None:
    one, _ = compared
    text = (one / "report" / "comparison.md").read_text()
    made = json.loads((one / "provenance.json").read_text())
    table = pd.read_csv(one / "report" / "comparison.csv")
    for row in table.to_dict("records"):
        mean, std = 100 * row["test_accuracy_mean"], 100 * row["test_accuracy_std"]
        low, high = 100 * row["test_accuracy_low95"], 100 * row["test_accuracy_high95"]
        assert f"| {row['network']} |" in text
        inside = "yes" if row["in_budget"] else "no"
        assert f"| {inside} | {mean:.2f} ± {std:.2f} | {low:.2f} to {high:.2f} | 2 |" in text
    for words in (
        made["processor"],
        f"{made['cores']} cores",
        f"torch {torch.__version__}",
        "Budget: macs <= 80.00k",
        "seeds 0, 1",
        "sample standard deviation",
        "360 test images",
        "2 epochs, batch 32, peak learning rate 0.05",
        "(accuracy_macs.png)",
    ):
        assert words in text


def test_the_plot_is_a_picture_with_something_on_it(compared: tuple[Path, Path]) -> None:
    report = compared[0] / "report"
    pictures = {f"{name}.{kind}" for name in ("accuracy_macs", "winner", "winner-2") for kind in ("png", "svg")}
    assert files(report) == {"comparison.csv", "comparison.md", "comparison.tex", "index.html", *pictures}
    with Image.open(report / "accuracy_macs.png") as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    assert min(pixels.shape[:2]) > 300
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_a_report_is_made_again_elsewhere_without_training(
    compared: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(retrain_module, "retrain", train)
    one, two = compared
    assert main(["compare", str(two), "--baselines", "", "--out", str(tmp_path / "new report")]) == 0
    table = pd.read_csv(tmp_path / "new report" / "comparison.csv")
    assert list(table["network"]) == ["gdas winner"]
    monkeypatch.chdir(one)
    assert main(["compare", ".", "../two", "--baselines", "mobilenetv3-small"]) == 0
    table = pd.read_csv("report/comparison.csv")
    assert list(table["network"]) == ["gdas winner (one)", "gdas winner (two)", "mobilenetv3-small"]


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run", retrain={"recipe": {"epochs": 1, "warmup_epochs": 0, "batch_size": 32}, "seeds": [4]}
    )
    assert main(["compare", str(run), "--baselines", ""]) == 0
    table = pd.read_csv(run / "report" / "comparison.csv")
    assert list(table["n"]) == [1]
    assert table[["test_accuracy_std", "test_accuracy_low95", "test_accuracy_high95"]].isna().all(axis=None)
    text = (run / "report" / "comparison.md").read_text()
    assert "±" not in text.split("Budget:")[0]
    assert "nan" not in text


def test_runs_of_equal_names_are_told_apart_by_their_paths(
    compared: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*args: Any) -> dict[str, Any]:
        return {"test_accuracy": 0.5, "seconds": 1.0, "test_images": 360, "provenance": {}}

    monkeypatch.setattr(retrain_module, "_train_one", train)
    runs = [RunFolder(make_run(tmp_path / name / "run")) for name in ("a", "b")]
    results = compare(runs, [read_config(run.config) for run in runs], [], tmp_path / "report")
    assert [one.name for one in results] == [f"gdas winner ({run.path})" for run in runs]
