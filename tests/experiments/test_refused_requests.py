"""Budgets, images and architecture files that cannot work: one clear line, and nothing changed on disk."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.commands import Refused, architecture_file, pictures, tiny, write

from experiments.cli import main
from search_space.candidates import SearchSpace
from strategies.budget.feasible import format_ranges

# --- budgets ---


@pytest.mark.parametrize("channels", ["auto", "1", "3"])
def test_a_budget_below_the_reachable_is_refused_with_the_range(refused: Refused, channels: str) -> None:
    said = refused("search", tiny(), "--out", "run", "--budget.max_macs", "1k", "--data.channels", channels)
    space = SearchSpace.create(
        image_size=8, in_channels=3 if channels == "3" else 1, width=0.25, operators=["dw_k3", "skip"], widths=[1.0]
    )
    assert said.startswith("budget.max_macs: 1,000 is below the smallest architecture")
    assert f"reachable: {format_ranges(space.cost_table)}" in said


def test_a_budget_above_the_reachable_is_refused_with_the_range(refused: Refused) -> None:
    said = refused("search", tiny(), "--out", "run", "--budget.min_params", "1G")
    assert said.startswith("budget.min_params: 1,000,000,000 is above the largest architecture")
    assert "reachable: macs" in said


def test_bounds_that_cannot_be_met_together_are_refused(refused: Refused) -> None:
    said = refused("search", tiny(), "--out", "run", "--budget.max_macs", "90k", "--budget.min_params", "105k")
    assert "at once" in said
    assert "loosen one bound" in said


def test_a_gpu_that_is_not_there_is_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert refused("search", tiny(), "--out", "run", "--accelerator", "cuda").startswith("accelerator: cuda, but")


# --- images ---


def test_a_missing_folder_of_images_is_named(refused: Refused) -> None:
    assert "'./none'" in refused("search", tiny(), "--out", "run", "--data.name", "./none")


def test_an_empty_folder_of_images_is_named(refused: Refused) -> None:
    Path("empty").mkdir()
    said = refused("search", tiny(), "--out", "run", "--data.name", "empty")
    assert "empty" in said
    assert "no class folders" in said


def test_one_class_alone_is_refused(refused: Refused) -> None:
    pictures("one", classes=1)
    assert "at least 2 classes" in refused("search", tiny(), "--out", "run", "--data.name", "one")


def test_a_corrupt_image_is_named_and_skipped_on_demand(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures("some")
    broken = Path("some/class1/3.png")
    broken.write_bytes(broken.read_bytes()[:40])
    options = [tiny(), "--out", "run", "--data.name", "some", "--data.max_train_images", "null"]
    said = refused("search", *options, loads=True)
    assert "class1/3.png" in said
    assert "skip" in said
    assert main(["search", *options, "--data.on_corrupt", "skip"]) == 0
    assert "class1/3.png" in capsys.readouterr().out
    assert (Path("run") / "winner.json").is_file()


# --- architecture files ---


@pytest.mark.parametrize("command", [["cost"], ["retrain", "--out", "results"]])
def test_wrong_architecture_files_are_named_with_what_is_wrong(refused: Refused, command: list[str]) -> None:
    name, *more = command
    path = architecture_file(lambda data: data.update(version=99))
    said = refused(name, path, *more)
    assert "a.json" in said
    assert "version: 99 cannot be read" in said
    path = architecture_file(lambda data: data["blocks"][1].update(in_channels=77))
    assert "blocks[1]" in refused(name, path, *more)
    assert "77" in refused(name, path, *more)
    path = architecture_file(lambda data: data["blocks"][0].update(operator="conv"))
    assert "blocks[0].operator: 'conv' is unknown" in refused(name, path, *more)
    path = architecture_file(lambda data: data.update(classes="ten"))
    assert "classes" in refused(name, path, *more)
    assert "a.json: is not JSON" in refused(name, write("{", "a.json"), *more)
    assert '"format"' in refused(name, write("[]", "a.json"), *more)
    assert re.search("none.json'?:? does not exist", refused(name, "none.json", *more))


def test_retraining_a_file_needs_a_folder(refused: Refused) -> None:
    assert refused("retrain", architecture_file(lambda data: None)).startswith("--out: missing")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data.image_size", "16"], ["image_size: 8", "16"]),
        (["--data.image_size", "8", "--data.channels", "3"], ["in_channels: 1", "3"]),
    ],
)
def test_an_architecture_must_fit_the_data(refused: Refused, options: list[str], words: list[str]) -> None:
    said = refused("retrain", architecture_file(lambda data: None), "--out", "results", *options, loads=True)
    assert said.startswith("architecture.")
    for word in words:
        assert word in said


def test_results_are_not_written_among_other_files(refused: Refused) -> None:
    Path("home").mkdir()
    write("x", "home/architecture.json")
    path = architecture_file(lambda data: None)
    said = refused("retrain", path, "--out", "home", "--data.image_size", "8", "--overwrite", loads=True)
    assert "home holds architecture.json" in said


@pytest.mark.parametrize("seeds", ["[0,0]", "x", "0,x", "[]", "-1"])
def test_wrong_seeds_are_named(refused: Refused, seeds: str) -> None:
    assert "seeds" in refused("retrain", architecture_file(lambda data: None), "--out", "results", f"--seeds={seeds}")
