"""``sepnas describe`` and ``sepnas space``: what they print is what the network and the space are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nni.nas.profiler.pytorch.flops import FlopsProfiler

from experiments.cli import main
from experiments.describe import describe_space, rows
from search_space import SearchSpace, baseline, cost, save_architecture
from search_space.network_cost import nni_flops
from search_space.space import SepConvSpace
from strategies import Budget

TRACEABLE = ("dw_k3", "xsep_no2x2_k5", "sep_k3", "bsconv_u_k3", "skip")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    out, error = capsys.readouterr()
    return code, out, error


@pytest.mark.parametrize("macro", ["mobilenetv3-small", "mobilenetv1", "mobilenetv3-small-torchvision"])
def test_nni_convention_is_what_nnis_profiler_counts(macro: str) -> None:
    space = SepConvSpace(
        SearchSpace.create(macro=macro, image_size=11, width=0.25, operators=TRACEABLE, widths=(1.0,))
    ).eval()
    profiler = FlopsProfiler(space, torch.randn(1, 3, 11, 11))
    rng = np.random.default_rng(0)
    for _ in range(10):
        row = np.array([rng.integers(len(names)) for names in space.search_space.candidates])
        sample = space.cost_table.sample(row)
        assert nni_flops(space.architecture(sample)) == profiler.profile(sample)


def test_rows_add_up_to_the_whole_network() -> None:
    architecture = baseline("mobilenetv3-small-xsep", image_size=56, classes=200)
    table = rows(architecture)
    total = cost(architecture)
    assert sum(row["macs"] for row in table) == total.macs
    assert sum(row["params"] for row in table) == total.params
    assert sum(row["macs_share"] for row in table) == pytest.approx(1)
    assert [row["block"] for row in table] == ["stem", *range(11), "head"]
    assert [row["map"] for row in table] == [56, 56, 56, 28, 28, 14, 14, 14, 14, 14, 7, 7, 7]


def test_describe_prints_every_block_and_every_total(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "describe", "mobilenetv3-small-xsep")
    assert code == 0
    lines = out.splitlines()
    assert sum("xsep_k5" in line for line in lines[:15]) == 4
    assert any(line.startswith("MACs ") and "16,707,072" in line for line in lines)
    assert any(line.startswith("2 x MACs ") and "33,414,144" in line for line in lines)
    assert any(line.startswith("parameters ") and "1,506,314" in line for line in lines)


def test_describe_as_json_has_the_figures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "network.json"
    save_architecture(baseline("mobilenetv1-bsconv-u", width=0.25), path)
    code, out, _ = run(capsys, "describe", str(path), "--json", "--input", "48")
    assert code == 0
    read: dict[str, Any] = json.loads(out)
    own = cost(baseline("mobilenetv1-bsconv-u", width=0.25, image_size=48))
    assert (read["macs"], read["params"], read["flops_2x"]) == (own.macs, own.params, 2 * own.macs)
    assert len(read["blocks"]) == 15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("describe", "nothing"), "network: 'nothing' is neither a baseline, nor a JSON file"),
        (("describe", "mobilenetv2", "--input", "3"), "image_size: 3 must be a whole number of at least 8"),
        (("space", "digits", "--space.operators", "most"), "space.operators: 'most' is unknown; known are "),
        (("space", "digits", "--space.widths", "0"), "space.widths[0]: 0 must be a number above 0 and at most 16"),
        (("space", "digits", "--budget.max_macs", "1k"), "budget.max_macs: 1,000 is below the smallest architecture"),
        (("space", "digits", "--space.macro", "resnet"), "space.macro: 'resnet' is unknown; known are mobilenetv3"),
        (("space", "digits", "--search.epochs", "3"), "option: '--search.epochs' is unknown; `sepnas space --help`"),
        (("space", "digits", "--space.macro", "no.yaml"), "macro file no.yaml: does not exist; give a YAML file"),
    ],
)
def test_bad_requests_get_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    code, _, error = run(capsys, *arguments)
    assert code == 2
    assert error.startswith(f"sepnas: {message}")
    assert error.count("\n") == 1


def test_space_report_counts_what_there_is() -> None:
    space = SearchSpace.create(
        image_size=8, width=0.25, operators=("dw_k3", "dw_k5", "skip"), widths=(1.0,), search_se=False
    )
    low, high = space.cost_table.reachable()["macs"]
    bound = low + (high - low) // 4
    # by enumeration: what the report says is counted by dynamic programming
    grids = np.meshgrid(*[np.arange(len(names)) for names in space.candidates], indexing="ij")
    totals = space.cost_table.evaluate(np.stack([grid.ravel() for grid in grids], axis=1))["macs"]
    inside = int((totals <= bound).sum())
    text = " ".join(describe_space(space, space.cost_table, Budget(max_macs=bound)).split())
    assert f"{space.size:.4g} architectures, 11 labels, {sum(map(len, space.candidates))} candidates" in text
    assert f"({low:,} to {high:,})" in text
    assert f"{inside:.4g} architectures inside, {inside / space.size:.4%} of the space" in text
    assert all(f"{label} (stage " in text for label in space.labels)


OWN_MACRO = """
name: tiny
stem: {channels: 8, stride: 1, activation: relu}
stages:
  - {operator: dw_k3, out_channels: 8, expansion: 2, activation: relu}
  - {operator: dw_k5, out_channels: 16, repeats: 2, stride: 2, expansion: 3, activation: relu}
head: {channels: 32, activation: relu}
"""


def test_spaces_of_ones_own_macro(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(OWN_MACRO, encoding="utf-8")
    code, out, error = run(capsys, "space", "digits", "--space.macro", str(path), "--budget.max_macs", "null")
    assert (code, error) == (0, "")
    assert out.startswith("tiny, input 1x16x16, 10 classes: ")
    assert "block02 (stage 1; " in " ".join(out.split())
    assert "budget none: " in out
    assert "100.0000% of the space" in out


def test_space_offers_what_it_uses_and_reads_whole_configs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, out, _ = run(capsys, "space", "--help")
    for name in ("--data.image_size", "--space.operators", "--budget.max_macs", "--costs"):
        assert name in out
    for name in ("--search.", "--retrain.", "--strategy.", "--finalists", "--jobs", "--help.recipe"):
        assert name not in out
    path = tmp_path / "config.yaml"
    path.write_text("{search: {epochs: 3}, strategy: {name: tpe}, space: {operators: [dw_k3]}}", encoding="utf-8")
    assert run(capsys, "space", str(path))[0] == 0


def test_tables_keep_to_the_width_that_columns_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns, narrow in (("60", True), ("", False)):
        monkeypatch.setenv("COLUMNS", columns)
        _, out, _ = run(capsys, "list", "presets")
        assert (max(map(len, out.splitlines())) <= 60) is narrow


@pytest.mark.parametrize("what", ["presets", "macros"])
def test_lists_of_presets_and_macros(capsys: pytest.CaptureFixture[str], what: str) -> None:
    code, out, _ = run(capsys, "list", what)
    assert code == 0
    expected = {
        "presets": ["paper", "kernels", "full", "    dw_k3, dw_k5, dw_k7"],
        "macros": ["mobilenetv3-large-torchvision  15 blocks; at 224 pixels, 1000 classes 216.59M MACs, 5.48M params"],
    }
    for text in expected[what]:
        assert text in out
