"""Searches beyond the plain one: a supernet used again, one's own costs, one's own macro-architecture."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.spaces import save_costs

from experiments.cli import main
from experiments.options.config import SearchConfig, StrategyConfig
from experiments.options.files import make_config
from experiments.runs.folder import RunFolder
from experiments.runs.task import SearchTask
from experiments.search.search import search
from search_space import InvalidRequest, cost
from strategies import Budget

VALUES: dict[str, Any] = {
    "data": {"name": "digits", "image_size": 8, "max_train_images": 200},
    "space": {"width": 0.25, "operators": ["dw_k3", "sep_k3", "skip"], "widths": [0.5, 1.0]},
    "strategy": {
        "name": "evolution",
        "options": {"trials": 6, "population_size": 4, "sample_size": 2, "calibration_images": 32},
    },
    "search": {"epochs": 1, "batch_size": 64, "warmup_epochs": 0},
    "accelerator": "cpu",
    "jobs": 1,
}


def config(**changes: Any) -> SearchConfig:
    return replace(make_config(VALUES, "test"), **changes)


def options(base: SearchConfig, **changes: Any) -> SearchConfig:
    """``base`` with other strategy options."""
    return replace(base, strategy=replace(base.strategy, options={**base.strategy.options, **changes}))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose supernet was trained fairly on the whole space."""
    out = tmp_path_factory.mktemp("runs") / "trained"
    return search(options(config(budget=Budget(max_macs="150k")), sampling="fair", supernet_for="space"), out)


def test_trained_supernet_searches_other_budgets_without_training(trained: RunFolder, tmp_path: Path) -> None:
    again = search(config(budget=Budget(max_macs="100k"), supernet=str(trained.path)), tmp_path / "again")
    assert cost(again.read_winner()).macs <= 100_000
    assert again.supernet.read_bytes() == trained.supernet.read_bytes()
    assert trained.metrics.exists()
    assert not again.metrics.exists()  # no epoch was trained
    assert len(again.architectures.read_text(encoding="utf-8").splitlines()) == 1 + 6


@pytest.mark.parametrize(("trusted", "warns"), [(None, True), ("no", True), ("partly", False), ("yes", False)])
def test_search_over_a_supernet_warns_unless_rank_trusts_it(
    trained: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], trusted: str | None, warns: bool
) -> None:
    known = RunFolder(tmp_path / "known")
    shutil.copytree(trained.path, known.path)
    if trusted is not None:
        known.rank.mkdir()
        (known.rank / "rank.json").write_text(json.dumps({"verdict": {"trusted": trusted}}))
    capsys.readouterr()
    search(config(budget=Budget(max_macs="100k"), supernet=str(known.path), finalists=0), tmp_path / "again")
    assert ("warning: supernets ranked" in capsys.readouterr().out) == warns


@pytest.mark.parametrize("found", ["[]", "{}", '{"verdict": "yes"}'])
def test_a_damaged_verdict_of_rank_is_named(tmp_path: Path, found: str) -> None:
    run = RunFolder(tmp_path)
    run.rank.mkdir()
    (run.rank / "rank.json").write_text(found)
    with pytest.raises(InvalidRequest, match=r"^run: .*rank\.json is damaged; delete it, or call `sepnas rank` again$"):
        run.is_trusted_to_rank()


def test_search_by_real_trainings_does_not_warn_of_supernets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_training = replace(config(), strategy=StrategyConfig("random", {"trials": 1, "scoring": "training"}))
    search(replace(by_training, finalists=0), tmp_path / "run")
    assert "warning" not in capsys.readouterr().out


def test_command_takes_everything_but_the_budget_from_the_run(
    trained: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "again"
    arguments = ["search", "--supernet", str(trained.path), "--budget.max_macs", "90k", "--out", str(out)]
    assert main(arguments) == 0, capsys.readouterr().err
    run = RunFolder(out)
    assert cost(run.read_winner()).macs <= 90_000
    theirs, mine = trained.read_config(), run.read_config()
    assert mine.pop("supernet") == str(trained.path)
    assert mine["budget"].pop("max_macs") == 90_000
    theirs.pop("supernet")
    theirs["budget"].pop("max_macs")
    assert mine == theirs


def test_reused_supernet_must_be_of_the_same_space_data_and_seed(trained: RunFolder, tmp_path: Path) -> None:
    base = config(supernet=str(trained.path))
    for changed, difference in (
        (replace(base, seed=1), "seed"),
        (replace(base, space=replace(base.space, widths=[1.0])), "space.widths"),
        (replace(base, data=replace(base.data, max_train_images=100)), "data.max_train_images"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            search(changed, tmp_path / "out")
        assert str(caught.value).startswith(f"supernet: {trained.path} was trained for something else ({difference}")
    assert not (tmp_path / "out").exists()


def test_runs_without_a_supernet_are_refused(tmp_path: Path) -> None:
    base = options(config(budget=Budget(max_macs="150k")), scoring="training", trials=1, calibration_images=None)
    run = search(base, tmp_path / "run")
    with pytest.raises(InvalidRequest, match=r"^supernet: .*run has no trained supernet; it comes from strategies"):
        search(config(supernet=str(run.path)), tmp_path / "out")
    with pytest.raises(InvalidRequest, match=r"^run: .*nowhere"):
        search(config(supernet=str(tmp_path / "nowhere")), tmp_path / "out")


@pytest.mark.parametrize("name", ["gdas", "darts"])
def test_strategies_that_train_their_own_supernet_refuse_one(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make_config({"supernet": "run", "strategy": {"name": name}}, "test")
    assert f"supernet: 'run' is of no use to {name}; only scoring \"supernet\" takes one" in str(caught.value)


@pytest.mark.parametrize("option", [{"sampling": "fair"}, {"supernet_for": "space"}, {"calibration_images": 64}])
def test_supernet_options_are_refused_where_no_supernet_is_trained(option: dict[str, Any]) -> None:
    values = {"strategy": {"name": "evolution", "options": {"scoring": "training", **option}}}
    with pytest.raises(InvalidRequest) as caught:
        make_config(values, "test")
    (name,) = option
    assert f"strategy.options.{name}: {option[name]!r} has no effect with scoring 'training'" in str(caught.value)


@pytest.fixture
def latencies(tmp_path: Path) -> Path:
    """Made-up milliseconds: depthwise 1, separable 3, skip 0, and 2 in common."""
    space = SearchTask(config()).space
    per_candidate = {
        label: {name: {"dw": 1.0, "se": 3.0, "sk": 0.0}[name[:2]] for name in names}
        for label, names in zip(space.labels, space.candidates, strict=True)
    }
    path = tmp_path / "latency.json"
    save_costs(path, "latency_ms", "ms", 2.0, per_candidate)
    return path


@pytest.mark.parametrize("name", ["evolution", "gdas"])
def test_winners_keep_a_budget_on_ones_own_costs(latencies: Path, tmp_path: Path, name: str) -> None:
    base = config(budget=Budget(max_costs={"latency_ms": 13.0}), costs=[str(latencies)])
    if name == "gdas":
        base = replace(base, strategy=replace(base.strategy, name=name, options={}))
    winner = search(base, tmp_path / "run").read_winner()
    spent = 2.0 + sum({"dw": 1.0, "se": 3.0, "sk": 0.0}[block.operator[:2]] for block in winner.blocks)
    assert spent <= 13.0


def test_impossible_budgets_on_ones_own_costs_are_refused_with_the_range(latencies: Path, tmp_path: Path) -> None:
    base = config(budget=Budget(max_costs={"latency_ms": 2.5}), costs=[str(latencies)])
    with pytest.raises(InvalidRequest, match=r"^budget.max_costs.latency_ms: 2.5 is below the smallest architecture"):
        search(base, tmp_path / "run")
    with pytest.raises(InvalidRequest, match=r"no cost table gives 'latency_ms'; known are macs, params"):
        search(replace(base, costs=[]), tmp_path / "run")


def test_costs_of_another_space_are_refused(latencies: Path, tmp_path: Path) -> None:
    data = json.loads(latencies.read_text(encoding="utf-8"))
    del data["costs"]["block03"]["dw_k3"]
    latencies.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(InvalidRequest) as caught:
        search(config(costs=[str(latencies)]), tmp_path / "run")
    assert str(caught.value).startswith(f"costs: {latencies}: ")
    assert "'block03'" in str(caught.value)
    assert "dw_k3" in str(caught.value)


OWN_MACRO = """
name: tiny
stem: {channels: 8, stride: 1, activation: relu}
stages:
  - {operator: dw_k3, out_channels: 8, expansion: 2, activation: relu}
  - {operator: dw_k3, out_channels: 16, repeats: 2, stride: 2, expansion: 3, activation: relu}
head: {channels: 32, activation: relu}
"""


def test_runs_keep_ones_own_macro_when_its_file_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    macro, out = tmp_path / "tiny.yaml", tmp_path / "run"
    macro.write_text(OWN_MACRO, encoding="utf-8")
    values = {**VALUES, "space": {"macro": str(macro), "operators": ["dw_k3", "dw_k5"], "widths": [1.0]}}
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(values), encoding="utf-8")
    assert main(["search", str(path), "--out", str(out)]) == 0, capsys.readouterr().err
    winner = RunFolder(out).read_winner()
    assert winner.macro == "tiny"
    assert len(winner.blocks) == 3
    macro.unlink()
    (out / "winner.json").unlink()
    assert main(["search", str(out / "config.yaml"), "--out", str(out), "--resume"]) == 0, capsys.readouterr().err
    assert RunFolder(out).read_winner() == winner
