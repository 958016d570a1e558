"""Networks of families, and ResNets as macro-architectures, in the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.runs import tiny_config, tiny_values

from experiments.comparison.controls import controls
from experiments.runs.folder import open_run
from experiments.runs.provenance import provenance
from experiments.runs.task import SearchTask
from experiments.training.retrain import read_result
from search_space import baseline, cost, load_architecture, macro
from search_space.families import families
from search_space.layered_network import LayeredNetwork
from search_space.serialization import save_architecture

IMAGES = ("--data.name", "digits", "--data.image_size", "8", "--data.max_train_images", "80", "--accelerator", "cpu")
RECIPE = ("--recipe.epochs", "1", "--recipe.warmup_epochs", "0", "--recipe.batch_size", "32", "--seeds", "[0]")


def test_a_network_of_a_family_is_retrained_by_its_name_and_tuned_from_its_weights(
    said: Callable[..., str], refused: Callable[..., str], tmp_path: Path
) -> None:
    out, tuned = tmp_path / "resnet", tmp_path / "tuned"
    said("retrain", "resnet-8-bsconv-s", "--width", "0.25", "--out", out, *IMAGES, *RECIPE)
    result = read_result(out)
    assert isinstance(result.architecture, LayeredNetwork)
    assert result.architecture == baseline("resnet-8-bsconv-s", image_size=8, in_channels=1, width=0.25)
    assert len(result.accuracies) == 1
    line = refused("export", out, "--to", "no", "--formats", "all", loads=True)
    assert "formats: 'source' is for architectures" in line
    said("export", out, "--to", tmp_path / "bundle")
    assert (tmp_path / "bundle" / "model.pt2").is_file()
    assert "starts from" in said("retrain", out, "--from", out, "--out", tuned, *IMAGES, *RECIPE)
    line = refused("retrain", "wrn-10-1", "--from", out, "--out", "other", *IMAGES, *RECIPE)
    assert "is of another architecture" in line


@pytest.mark.parametrize("name", ["resnet-20-c2sp", "xception-noresidual-elu", "fractalnet-10-sep"])
def test_a_network_of_a_family_is_described_and_counted(name: str, said: Callable[..., str]) -> None:
    options = ("--input", 16, "--classes", 7, "--width", 0.25)
    network = baseline(name, image_size=16, classes=7, width=0.25)
    own = cost(network)
    summary = json.loads(said("describe", name, *options, "--json"))
    assert (summary["macs"], summary["params"]) == (own.macs, own.params)
    assert sum(row["macs"] for row in summary["blocks"]) == own.macs
    assert sum(row["params"] for row in summary["blocks"]) == own.params
    text = said("describe", name, *options)
    assert str(network) in text
    assert f"{own.macs:,}" in text
    assert json.loads(said("cost", name, *options, "--json"))["params"] == own.params


def test_families_are_listed_with_how_their_names_are_written(said: Callable[..., str]) -> None:
    listed = said("list", "baselines")
    assert all(usage in listed for usage in families())
    assert "bsconv-s[-pP][-minM]" in listed
    assert "resnet-56" in said("list", "macros")


def test_networks_of_families_are_compared_with_winners(tmp_path: Path) -> None:
    config = tiny_config(budget={"max_macs": 200_000})
    run = open_run(tmp_path / "run", config.as_dict(), provenance(0, "cpu"), overwrite=False)
    save_architecture(macro("mobilenetv3-small", image_size=8, in_channels=1, width=0.25), run.winner)
    fitted, plain = controls(["resnet-8-c2sp@fit", "wrn-10-1"], SearchTask(config), run)
    assert fitted.label.startswith("resnet-8-c2sp@fit (width ")
    assert 150_000 <= cost(fitted.network).macs <= 200_000
    assert (plain.role, plain.network) == ("baseline", baseline("wrn-10-1", image_size=8, in_channels=1, width=0.25))


def tiny(operator: str) -> dict[str, Any]:
    before = operator.startswith("preres")
    stages = [
        {"operator": operator, "out_channels": 8},
        {"operator": operator, "out_channels": 16, "repeats": 2, "stride": 2},
    ]
    stem = {"channels": 8, "stride": 1, "activation": "none" if before else "relu", "bare": before}
    return {"name": "tiny", "stem": stem, "stages": stages, "head": {"activation": "relu", "norm_first": before}}


EVOLUTION = {"name": "evolution", "options": {"trials": 3, "population_size": 2, "sample_size": 2}}


@pytest.mark.parametrize(
    ("strategy", "operator", "more"),
    [({"name": "gdas"}, "preres_k3", {}), (EVOLUTION, "res_k3", {"operators": ["res_k3", "res_c2sp"]})],
)
def test_a_residual_macro_is_searched_retrained_exported_and_analysed(
    strategy: dict[str, Any], operator: str, more: dict[str, Any], said: Callable[..., str], tmp_path: Path
) -> None:
    bound = 150_000
    space = {"macro": tiny(operator), "widths": [0.5, 1.0], **more}
    values = tiny_values(space=space, budget={"max_macs": bound}, strategy=strategy)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    said("search", tmp_path / "run.yaml", "--out", run)
    winner = load_architecture(run / "winner.json")
    assert winner.macro == "tiny"
    assert cost(winner).macs <= bound
    said("retrain", run, *RECIPE)
    said("export", run, "--to", bundle, "--formats", "source")
    assert (bundle / "model.py").is_file()
    if more:  # every convolution of a block is dense: each of these folders is one to look at the kernels in
        told = [said("analyse", "correlations", folder) for folder in (run, run / "retrain" / "winner", bundle)]
        assert "16 filters" in told[0]
        assert len({text.partition(": ")[2] for text in told}) == 1


def test_a_built_in_residual_macro_is_one_to_search(said: Callable[..., str], refused: Callable[..., str]) -> None:
    for name in ("resnet-20", "wrn-10-2"):
        told = said("space", "--space.macro", name, "--data.name", "digits", "--data.image_size", 8)
        assert "res_k3" in told
        assert "architectures inside" in told
    line = refused("space", "--space.macro", "resnet-21", "--data.name", "digits")
    assert line.startswith("space.macro: 'resnet-21' has no depth of 6n + 2 layers")
