"""Networks that searches found, by name: for other images, in every command that takes a baseline, and refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from helpers.trainings import make_run, pretend

from search_space import InvalidRequest, baseline, baselines, build, cost, load_architecture, zoo
from search_space.found import FOLDER, found
from search_space.hand_designed import fit_baseline
from strategies.budget.budget import format_count

ROOT = Path(__file__).resolve().parents[2]
TRAINING = [
    *("--data.name", "digits", "--data.image_size", "8", "--data.max_train_images", "60"),
    *("--recipe.epochs", "1", "--recipe.warmup_epochs", "0", "--seeds", "0", "--accelerator", "cpu"),
]


def test_the_zoo_has_networks_and_nothing_else() -> None:
    assert {"zoo/digits-300k", "zoo/cifar10-jpeg-1400k"} <= set(zoo())
    assert not set(zoo()) & set(baselines())
    folders = {path.name for path in FOLDER.iterdir() if path.is_dir()}
    assert {f"zoo/{name}" for name in folders} == set(zoo())


@pytest.mark.parametrize("name", zoo())
def test_each_stands_in_its_table_with_the_commands_that_made_it(name: str) -> None:
    one = found(name)
    assert baseline(name) == one.architecture
    costs = cost(one.architecture)
    (row,) = re.findall(r"^\| \w+ winner \| ([\w.]+) \| ([\w.]+) \|", one.table.read_text(), re.MULTILINE)
    assert row == (format_count(costs.macs), format_count(costs.params))
    assert [command.split()[:2] for command in one.commands] == [["sepnas", "search"], ["sepnas", "compare"]]
    for command in one.commands:
        for file in re.findall(r"experiments/\S+", command):
            assert (ROOT / file).is_file()


def test_what_is_on_record_is_in_the_zoo() -> None:
    recorded = load_architecture(ROOT / "experiments" / "results" / "cifar10-jpeg-16" / "winner.json")
    assert baseline("zoo/cifar10-jpeg-1400k") == recorded


@pytest.mark.parametrize("name", zoo())
def test_they_are_made_for_other_images(name: str) -> None:
    network = baseline(name, image_size=24, in_channels=2, classes=7)
    assert network.blocks == baseline(name).blocks
    assert build(network)(torch.zeros(2, 2, 24, 24)).shape == (2, 7)
    assert baseline(name, classes=7).image_size == baseline(name).image_size


@pytest.mark.parametrize(
    ("name", "sizes", "told"),
    [
        ("zoo/digits", {}, "^baseline: 'zoo/digits' is unknown; known are .* did you mean zoo/digits-300k"),
        ("zoo/../results", {}, "is unknown"),
        ("zoo/digits-300k", {"image_size": 4}, "cannot be made for these images \\(image_size: 4 must be .* 8"),
        ("zoo/digits-300k", {"classes": 1}, "^baseline: zoo/digits-300k cannot be made for these images \\(classes: 1"),
        ("zoo/digits-300k", {"in_channels": 0}, "cannot be made for these images \\(in_channels: 0"),
        ("zoo/digits-300k", {"width": 0.5}, "^width: 0.5 is impossible, as zoo/digits-300k has the channels that it"),
    ],
)
def test_what_cannot_be_made_is_refused(name: str, sizes: dict[str, int], told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        baseline(name, **sizes)  # type: ignore[arg-type]


def test_they_have_no_widest_form() -> None:
    with pytest.raises(InvalidRequest, match=r"^baseline: 'zoo/digits-300k@fit' has no widths to fit to a budget;"):
        fit_baseline("zoo/digits-300k", lambda own: own.macs < 10**6)


def test_a_folder_that_is_not_installed_is_an_empty_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search_space.found.FOLDER", tmp_path / "nowhere")
    assert zoo() == {}
    with pytest.raises(InvalidRequest, match="is unknown"):
        baseline("zoo/digits-300k")


def test_they_are_listed_with_command_and_table(said: Callable[..., str]) -> None:
    text = said("list", "zoo")
    for name in zoo():
        one = found(name)
        assert name in text
        for words in (one.summary, *one.commands, str(one.table), format_count(cost(one.architecture).macs)):
            assert words in text


def test_every_command_that_takes_a_baseline_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[..., str]
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = json.loads(said("cost", "zoo/digits-300k", "--json"))
    assert printed["macs"] == cost(baseline("zoo/digits-300k")).macs
    printed = json.loads(said("cost", "zoo/digits-300k", "--input", "32", "--channels", "3", "--json"))
    assert printed["macs"] == cost(baseline("zoo/digits-300k", image_size=32, in_channels=3)).macs
    assert "c4sp" in said("describe", "zoo/digits-300k")
    trained = pretend(monkeypatch, lambda name, seed: 0.5)
    said("retrain", "zoo/digits-300k", *TRAINING, "--out", "out")
    own = baseline("zoo/digits-300k", image_size=8)
    assert load_architecture(tmp_path / "out" / "architecture.json") == own
    run = make_run(tmp_path / "run")
    said("compare", run, "--baselines", "zoo/digits-300k", "--reference", "zoo/digits-300k")
    table = pd.read_csv(run / "report" / "comparison.csv").set_index("network")
    assert table.loc["zoo/digits-300k", "macs"] == cost(own).macs
    assert (run / "retrain" / "zoo-digits-300k" / "seed0").is_dir()
    assert ("zoo/digits-300k", 0) in trained


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["cost", "zoo/digits-300k", "--input", "4"], "baseline: zoo/digits-300k cannot be made for these images (ima"),
        (["cost", "zoo/digits-300k", "--width", "0.5"], "width: 0.5 is impossible, as zoo/digits-300k has the channe"),
        (["retrain", "zoo/digit", "--out", "out"], "target: 'zoo/digit' does not exist; give the folder of a run, an"),
        (["compare", "run", "--baselines", "zoo/nothing"], "baselines: 'zoo/nothing' is unknown; known are"),
        (["compare", "run", "--baselines", "zoo/digits-300k@fit"], "baseline: 'zoo/digits-300k@fit' has no widths to"),
    ],
)
def test_commands_refuse_them_in_one_line(
    arguments: list[str], told: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    make_run(tmp_path / "run")
    assert refused(*arguments).startswith(told)
