"""Hand-designed networks trained by name, and tables of what `sepnas retrain --out` left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import experiments.runs.task as task_module
from experiments.cli import main
from search_space import baseline, cost, load_architecture
from search_space.serialization import save_architecture

OPTIONS = [
    *("--data.name", "digits", "--data.image_size", "8", "--data.max_train_images", "60"),
    *("--recipe.epochs", "1", "--recipe.warmup_epochs", "0", "--recipe.batch_size", "20"),
    *("--width", "0.25", "--accelerator", "cpu"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("trained")
    seeds = {"mobilenetv3-small": "0,1", "mobilenetv3-small-xsep": "0"}
    for name, own in seeds.items():
        assert main(["retrain", name, *OPTIONS, "--seeds", own, "--out", str(folder / name)]) == 0
    return {name: folder / name for name in seeds}


def test_a_baseline_is_made_for_the_data(trained: dict[str, Path]) -> None:
    for name, folder in trained.items():
        made = load_architecture(folder / "architecture.json")
        assert made == baseline(name, image_size=8, in_channels=1, classes=10, width=0.25)


def test_a_table_of_trained_folders(trained: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "report"
    assert main(["compare", *map(str, trained.values()), "--out", str(out), "--title", "Digits"]) == 0
    table = pd.read_csv(out / "comparison.csv").set_index("network")
    assert list(table.index) == list(trained)
    for name, folder in trained.items():
        results = [json.loads(path.read_text()) for path in sorted(folder.glob("seed*/result.json"))]
        own = cost(load_architecture(folder / "architecture.json"))
        row = table.loc[name]
        assert (row["n"], row["macs"], row["params"]) == (len(results), own.macs, own.params)
        assert row["test_accuracy_mean"] == pytest.approx(sum(r["test_accuracy"] for r in results) / len(results))
    text = (out / "comparison.md").read_text()
    assert text.startswith("# Digits: trained networks")
    assert "in budget" not in text
    assert "over n seeds" in text, "the seeds are not the same ones"
    assert f"on {results[0]['test_images']:,} test images" in text
    assert results[0]["provenance"]["processor"] in text
    assert (out / "accuracy_macs.png").stat().st_size > 1000


def test_what_was_trained_another_way_does_not_join(
    trained: dict[str, Path], tmp_path: Path, refused: Callable[..., str]
) -> None:
    other = tmp_path / "other"
    assert main(["retrain", "mobilenetv2", *OPTIONS, "--recipe.flip", "true", "--seeds", "0", "--out", str(other)]) == 0
    out = tmp_path / "report"
    told = refused("compare", str(trained["mobilenetv3-small"]), str(other), "--out", str(out))
    assert "recipe.flip was False and is now True" in told
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--out: missing; without a search, name a folder for the report"),
        (["--out", "report", "--baselines", "mobilenetv2"], "no search is given; train them by `sepnas retrain NAME"),
    ],
)
def test_a_table_needs_a_place_and_baselines_a_search(
    trained: dict[str, Path], arguments: list[str], told: str, refused: Callable[..., str]
) -> None:
    assert told in refused("compare", str(trained["mobilenetv3-small"]), *arguments)


@pytest.mark.parametrize(
    ("target", "more", "told"),
    [
        ("mobilenetv3-smal", [], "does not exist; give the folder of a run, an architecture file, or the name of a"),
        ("architecture.json", ["--width", "0.5"], "--width: an architecture has fixed channels; leave it out"),
        ("mobilenetv2", ["--num_nodes", "2"], "num_nodes: 2, but neither torchrun nor SLURM started this process"),
        ("mobilenetv2", ["--width", "-1"], "width"),
        ("architecture.json", [], "architecture.image_size: 16, but the data 'digits' has 8"),
        ("ten.json", [], "architecture.classes: 7, but the data 'digits' has 10"),
    ],
)
def test_what_cannot_work_is_refused_before_images_are_decoded(
    target: str,
    more: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., str],
) -> None:
    def decode(*args: Any, **options: Any) -> None:
        raise AssertionError("images were decoded")

    monkeypatch.setattr(task_module, "load_data", decode)
    monkeypatch.chdir(tmp_path)
    for name, made in (("architecture.json", {"image_size": 16}), ("ten.json", {"image_size": 8, "classes": 7})):
        network = baseline("mobilenetv3-small", in_channels=1, **made)  # type: ignore[arg-type]
        save_architecture(network, tmp_path / name)
    options = [option for option in OPTIONS if option not in ("--width", "0.25")]
    assert told in refused("retrain", target, *options, *more, "--out", "out")
    assert not (tmp_path / "out").exists()
