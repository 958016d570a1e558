"""Folders that are not what a command needs, or hold what it must not touch; runs that are not there or not done."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.commands import Refused, old_run, pictures, tiny, write

from experiments.options.files import read_config

# --- folders for results ---


def test_a_folder_with_a_run_needs_resume_or_overwrite(refused: Refused, tmp_path: Path) -> None:
    old_run(tmp_path / "run")
    said = refused("search", "tiny.yaml", "--out", "run")
    assert said == "out: run already holds a run; --resume continues it, --overwrite deletes it first"
    assert "exclude each other" in refused("search", "tiny.yaml", "--out", "run", "--resume", "--overwrite")


def test_a_folder_with_other_files_is_refused_whatever_is_asked(refused: Refused) -> None:
    Path("home").mkdir()
    write("dear diary", "home/diary.txt")
    for more in ([], ["--resume"], ["--overwrite"]):
        said = refused("search", tiny(), "--out", "home", *more)
        assert "home holds diary.txt" in said
        assert "empty or new folder" in said


def test_a_config_file_alone_does_not_make_a_folder_a_run(refused: Refused) -> None:
    Path("project").mkdir()
    write(Path(tiny()).read_text(), "project/config.yaml")
    write("irreplaceable", "project/thesis.tex")
    said = refused("search", "project/config.yaml", "--out", "project", "--overwrite")
    assert "project holds config.yaml, which is not part of a run" in said


def test_other_files_beside_a_run_keep_it_from_being_overwritten(refused: Refused, tmp_path: Path) -> None:
    old_run(tmp_path / "run")
    write("irreplaceable", "run/thesis.tex")
    assert "run holds thesis.tex beside a run" in refused("search", "tiny.yaml", "--out", "run", "--overwrite")


def test_resuming_with_another_config_names_the_first_difference(refused: Refused, tmp_path: Path) -> None:
    old_run(tmp_path / "run")
    said = refused("search", "tiny.yaml", "--out", "run/", "--resume", "--search.epochs", "7", "--seed", "3")
    assert "search.epochs was 1 and is now 7" in said
    options = ["--strategy.options", '{"multiplier_rate": 0.1}']
    said = refused("search", "tiny.yaml", "--out", "run", "--resume", *options)
    assert "strategy.options.multiplier_rate was None and is now 0.1" in said


@pytest.mark.parametrize(
    "wrong",
    [["--budget.max_macs", "1k"], ["--data.name", "./none"], ["--space.operators", "dw_k4"], ["--seed", "-1"]],
)
def test_a_bad_request_leaves_the_run_that_it_would_overwrite(
    refused: Refused, tmp_path: Path, wrong: list[str]
) -> None:
    old_run(tmp_path / "run")
    refused("search", "tiny.yaml", "--out", "run", "--overwrite", *wrong)


def test_data_that_cannot_be_read_leave_the_run_that_they_would_overwrite(refused: Refused, tmp_path: Path) -> None:
    old_run(tmp_path / "run")
    pictures("broken")
    write("no image", "broken/class0/0.png")
    refused("search", "tiny.yaml", "--out", "run", "--overwrite", "--data.name", "broken", loads=True)


@pytest.mark.parametrize("out", ["tiny.yaml", "tiny.yaml/run"])
def test_a_file_cannot_be_the_folder(refused: Refused, out: str) -> None:
    assert "tiny.yaml is a file; give a folder" in refused("search", tiny(), "--out", out)


def test_a_folder_that_must_not_be_written_to_is_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK) and access(path, mode))
    assert "cannot be written to" in refused("search", tiny(), "--out", "some/run")


def test_a_demo_does_not_begin_where_something_else_is(refused: Refused) -> None:
    Path("demo/search").mkdir(parents=True)
    write("x", "demo/search/x")
    assert "demo/search holds x" in refused("demo", "--out", "demo", "--overwrite")


# --- runs that are not there, or not done ---


@pytest.mark.parametrize("arguments", [["export", "--to", "x"], ["compare"]])
def test_a_folder_without_a_run_is_named(refused: Refused, arguments: list[str]) -> None:
    Path("none").mkdir()
    said = refused(arguments[0], "none", *arguments[1:])
    assert said.startswith("run: none holds no run")
    assert "sepnas search --out" in said
    said = refused(arguments[0], "nowhere", *arguments[1:])
    assert said.startswith(("run: nowhere holds no run", "target: nowhere does not exist; give the folder of a run"))
    assert refused("retrain", "none").startswith("run: none holds no run")


def test_an_unfinished_search_has_no_winner_to_work_with(refused: Refused, tmp_path: Path) -> None:
    old_run(tmp_path / "run", winner=False)
    assert "has no winner yet" in refused("retrain", "run")
    assert "has no winner yet" in refused("compare", "run")
    assert "sepnas retrain run" in refused("export", "run", "--to", "x")


@pytest.mark.parametrize("names", ["mobilenetv9", "mobilenetv3-small,mobilenetv9"])
def test_unknown_baselines_are_answered_by_the_known_ones(refused: Refused, tmp_path: Path, names: str) -> None:
    old_run(tmp_path / "run")
    said = refused("compare", "run", "--baselines", names)
    assert "'mobilenetv9' is unknown" in said
    assert "mobilenetv3-small-xsep" in said


def test_a_baseline_or_a_run_named_twice_is_refused(refused: Refused, tmp_path: Path) -> None:
    old_run(tmp_path / "run")
    assert "twice" in refused("compare", "run", "--baselines", "mobilenetv3-small, mobilenetv3-small")
    assert "twice" in refused("compare", "run", "./run/")


def test_runs_on_other_data_are_not_compared(refused: Refused, tmp_path: Path) -> None:
    one = read_config(Path(tiny()))
    old_run(tmp_path / "one", one)
    for name, other, words in (
        ("data", replace(one, data=replace(one.data, image_size=16)), "data.image_size was 8 and is now 16"),
        ("seed", replace(one, seed=4), "seed was 0 and is now 4"),
        ("recipe", replace(one, retrain=replace(one.retrain, seeds=[5])), "retrain.seeds"),
    ):
        old_run(tmp_path / name, other)
        said = refused("compare", "one", name)
        assert said.startswith(f"run: {name} has other data, retraining or seed than one")
        assert words in said
