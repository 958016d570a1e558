"""What a comparison can hold beside winners and controls: own models, Pareto sets, latencies, another reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from helpers.trainings import make_run, pretend

from evaluators.measuring.statistics import paired_difference
from experiments.options.files import read_config
from experiments.runs.folder import RunFolder
from experiments.runs.records import ScoreRecord
from experiments.runs.task import SearchTask
from experiments.training.retrain import retrain_network
from search_space import load_architecture
from search_space.serialization import load_any_network

MODULE = """
from torch import nn


def small(in_channels, classes):
    return nn.Sequential(
        nn.Conv2d(in_channels, {width}, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear({width}, classes)
    )


def unconnected(in_channels, classes):
    return nn.Sequential(nn.Conv2d(in_channels, classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def wide():
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_run(tmp_path / "run", data={"name": "digits", "image_size": 8, "max_train_images": 80})


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Trainings that take no time; the list gets name and seed of each."""
    return pretend(monkeypatch, lambda name, seed: 0.5 + 0.01 * seed + 0.001 * len(name))


def table(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "report" / "comparison.csv").set_index("network")


def test_an_own_model_is_trained_and_counted_beside_the_winner(
    run: Path, said: Callable[..., str], refused: Callable[..., str]
) -> None:
    Path("own_nets_a.py").write_text(MODULE.format(width=8))
    said("compare", run, "--baselines", "own_nets_a:small")
    row = table(run).loc["own_nets_a:small"]
    assert (row["macs"], row["params"], row["role"]) == (4 * 4 * 8 * 9 + 8 * 10, 8 * 9 + 8 + 8 * 10 + 10, "baseline")
    home = run / "retrain" / "own-own_nets_a.small"
    results = [json.loads((home / f"seed{seed}" / "result.json").read_text()) for seed in (0, 1)]
    assert row["test_accuracy_mean"] == pytest.approx(sum(one["test_accuracy"] for one in results) / 2)
    assert "structure" in json.loads((home / "about.json").read_text())["architecture"]
    # the trainings join another table, without the code
    said("compare", home, "--out", "again")
    assert list(pd.read_csv("again/comparison.csv")["macs"]) == [row["macs"]]
    assert "network of another kind" in refused("evaluate", home)


def test_an_own_model_that_has_changed_is_not_mixed_with_itself(
    run: Path, untrained: list[tuple[str, int]], refused: Callable[..., str], said: Callable[..., str]
) -> None:
    for name, width in (("own_nets_b", 8), ("own_nets_c", 9)):
        Path(f"{name}.py").write_text(MODULE.format(width=width))
    said("compare", run, "--baselines", "own_nets_b:small")
    # as if the file had been edited between two calls of the command
    home = run / "retrain" / "own-own_nets_b.small"
    about = json.loads((home / "about.json").read_text())
    assert about["architecture"] == str(load_any_network(home / "architecture.json"))
    home.rename(run / "retrain" / "own-own_nets_c.small")
    about = run / "retrain" / "own-own_nets_c.small" / "about.json"
    about.write_text(about.read_text().replace("own_nets_b", "own_nets_c"))
    told = refused("compare", run, "--baselines", "own_nets_c:small")
    assert "is now 'own_nets_c:small 1x8x8 10 structure" in told
    assert told.endswith("--overwrite deletes it")


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ("own_nets_d:wide", "baselines: 'own_nets_d:wide' cannot take images of 1x8x8 (RuntimeError: "),
        ("own_nets_d:absent", "baselines: 'own_nets_d:absent' is not there: own_nets_d has no absent"),
        ("own_nets_nowhere:net", "baselines: 'own_nets_nowhere:net' cannot be imported (ModuleNotFoundError: "),
        ("own nets", "baselines: 'own nets' is unknown; known are mobilenetv3-small"),
    ],
)
def test_an_own_model_that_cannot_work_is_refused_before_anything_is_trained(
    run: Path, request_: str, told: str, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("own_nets_d.py").write_text(MODULE.format(width=8))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    assert refused("compare", run, "--baselines", request_).startswith(told)


def test_a_recipe_that_an_own_model_cannot_take_is_refused_before_anything_is_trained(
    tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", retrain={"recipe": {"epochs": 1, "warmup_epochs": 0, "dropout": 0.1}})
    Path("own_nets_f.py").write_text(MODULE.format(width=8))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    told = refused("compare", run, "--baselines", "own_nets_f:unconnected")
    assert told == "recipe.dropout: Sequential has no linear layer to drop inputs of; set it to 0"


def test_every_row_is_held_against_the_reference(
    run: Path, untrained: list[tuple[str, int]], said: Callable[..., str]
) -> None:
    said("compare", run, "--baselines", "mobilenetv3-small,mobilenetv3-small-xsep")
    plain = table(run)
    assert set(plain["reference"]) == {"gdas winner"}
    assert plain["difference_mean"].isna().tolist() == [True, False, False]
    said("compare", run, "--baselines", "mobilenetv3-small,mobilenetv3-small-xsep", "--reference", "mobilenetv3-small")
    assert len(untrained) == 6, "what is trained is not trained again"
    rows = table(run)
    assert set(rows["reference"]) == {"mobilenetv3-small"}
    assert rows["difference_mean"].isna().tolist() == [False, True, False]
    by_seed = [{0: mean - 0.005, 1: mean + 0.005} for mean in rows["test_accuracy_mean"]]
    expected = paired_difference(by_seed[0], by_seed[1])
    assert rows["difference_mean"].iloc[0] == pytest.approx(expected.summary.mean)
    assert rows["lead_mean"].iloc[1] == pytest.approx(expected.summary.mean)
    text = (run / "report" / "comparison.md").read_text()
    assert "difference to mobilenetv3-small, points | p |" in text
    assert "paired t-test" in text


def test_a_reference_that_is_no_row_is_refused(run: Path, refused: Callable[..., str]) -> None:
    arguments = ("compare", run, "--baselines", "mobilenetv3-small", "--reference")
    assert refused(*arguments, "gdas").startswith("reference: 'gdas' is unknown; known are gdas winner, mobilenetv3")


def test_the_reference_may_be_named_as_requested_or_by_its_folder(
    run: Path, untrained: list[tuple[str, int]], said: Callable[..., str]
) -> None:
    for name, label in (("run", "gdas winner"), ("mobilenetv3-small@fit", "mobilenetv3-small@fit (width 0.123)")):
        said("compare", run, "--baselines", "mobilenetv3-small@fit", "--reference", name)
        assert set(table(run)["reference"]) == {label}


def test_the_table_is_latex_too(run: Path, untrained: list[tuple[str, int]], said: Callable[..., str]) -> None:
    said("compare", run, "--baselines", "mobilenetv3-small@fit")
    text = (run / "report" / "comparison.tex").read_text()
    assert text.startswith("% needs \\usepackage{booktabs}\n\\begin{tabular}{lrrrrrrrrr}\n\\toprule\nnetwork & MACs")
    for rule in ("\\midrule", "\\bottomrule", "\\end{tabular}"):
        assert text.count(rule) == 1
    assert "test accuracy, \\%" in text
    assert "$\\pm$ 0.71" in text
    assert not {"±", "<"} & set(text.replace("$<$", ""))
    body = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert len(body) == 3
    assert {line.count(" & ") for line in body} == {9}


def test_networks_of_the_pareto_set_are_rows(
    run: Path, untrained: list[tuple[str, int]], said: Callable[..., str], refused: Callable[..., str]
) -> None:
    told = refused("compare", run, "--pareto", 3)
    assert "has not measured the accuracies of architectures, or not alike (gdas)" in told
    folder = RunFolder(run)
    task = SearchTask(read_config(folder.config))
    space = task.space
    record = ScoreRecord(folder.architectures, ["validation_accuracy"])
    names = [{label: choices[0] for label, choices in zip(space.labels, space.candidates, strict=True)}]
    for label, choices in zip(space.labels, space.candidates, strict=True):
        if "skip" in choices:
            names.append({**names[-1], label: "skip"})
    for number, sample in enumerate(reversed(names)):
        record.add(space.architecture(sample), 0.5 + 0.01 * number)
    assert len(names) > 3
    said("compare", run, "--baselines", "", "--pareto", 3)
    rows = table(run)
    assert list(rows["role"]) == ["winner", "pareto", "pareto", "pareto"]
    assert rows["macs"].iloc[1:].is_monotonic_increasing
    assert rows.index[1] == "gdas Pareto, trial 0"
    assert rows.index[3] == f"gdas Pareto, trial {len(names) - 1}"
    assert load_architecture(run / "retrain" / "pareto-0" / "architecture.json") == space.architecture(names[-1])
    assert set(rows["family"]) == {"gdas"}


def test_a_search_by_loss_has_a_pareto_set_of_what_it_trained_the_longest(
    tmp_path: Path, untrained: list[tuple[str, int]], said: Callable[..., str]
) -> None:
    search = {"epochs": 4, "batch_size": 32, "warmup_epochs": 0}
    run = make_run(tmp_path / "run", strategy={"name": "halving"}, search=search)
    folder = RunFolder(run)
    space = SearchTask(read_config(folder.config)).space
    record = ScoreRecord(folder.architectures, ["negative_validation_loss"])
    full = {label: choices[0] for label, choices in zip(space.labels, space.candidates, strict=True)}
    skipped = [label for label, choices in zip(space.labels, space.candidates, strict=True) if "skip" in choices]
    networks = [space.architecture({**full, **dict.fromkeys(skipped[:n], "skip")}) for n in range(3)]
    # the last round: the smallest is best but for the whole one, the middle one is beaten by it; others ended before
    for network, loss in zip([*networks, *networks[:2], networks[2]], [3, 1, 2, 0.1, 0.5, 0.4], strict=True):
        record.add(network, -loss)
    record.add(space.architecture({**full, **dict.fromkeys(skipped, "skip")}), -0.01)
    said("compare", run, "--baselines", "", "--pareto", 5)
    rows = table(run)
    assert list(rows.index) == ["halving winner", "halving Pareto, trial 5", "halving Pareto, trial 3"]
    assert list(rows["architecture"].iloc[1:]) == [str(networks[2]), str(networks[0])]


def test_a_pareto_set_needs_a_search(tmp_path: Path, refused: Callable[..., str]) -> None:
    config = read_config(RunFolder(make_run(tmp_path / "run")).config)
    retrain_network("any", load_architecture(tmp_path / "run" / "winner.json"), config, tmp_path / "trained")
    told = refused("compare", tmp_path / "trained", "--pareto", 2, "--out", "report")
    assert told == "pareto: 2, but no search is given, which alone has a Pareto set; leave it out"


def test_latencies_join_the_table_by_request(
    run: Path, untrained: list[tuple[str, int]], said: Callable[..., str]
) -> None:
    Path("own_nets_e.py").write_text(MODULE.format(width=8))
    said("compare", run, "--baselines", "own_nets_e:small")
    assert table(run)["latency_ms"].isna().all()
    said("compare", run, "--baselines", "own_nets_e:small", "--latency", "pytorch-cpu")
    rows = table(run)
    assert (rows["latency_ms"] > 0).all()
    assert rows["latency_ms"].iloc[0] > rows["latency_ms"].iloc[1], "eleven blocks against one layer"
    text = (run / "report" / "comparison.md").read_text()
    assert "| latency, ms |" in text
    assert "Latency: median of 5 rounds of 20 passes of one image, pytorch-cpu (torch" in text
