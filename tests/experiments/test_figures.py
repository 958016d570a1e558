"""The same network has the same colour in every figure, and no figure shows an accuracy that cannot be."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from experiments.comparison.report import as_markdown
from experiments.comparison.rows import Row, as_frame
from experiments.figures import figure, network_colour
from experiments.training.retrain import Result
from search_space.base.atomic import is_temporary
from search_space.hand_designed import baseline, baselines
from strategies.budget.budget import Budget
from strategies.registry import STRATEGIES

CONDITIONS = {"recipe": {"epochs": 1, "batch_size": 8, "learning_rate": 0.1}, "train_on": "train"}
PROVENANCE = {"processor": "any", "cores": 2, "accelerator": "cpu", "versions": {"torch": "2"}}


def row(family: str, accuracies: list[float], *, searched: bool = False, width: float = 0.25) -> Row:
    network = baseline("mobilenetv3-small", image_size=8, width=width)
    seeds = list(range(len(accuracies)))
    result = Result(family, network, seeds, accuracies, [1.0] * len(seeds), 360, PROVENANCE)
    return Row(result, family, Budget(max_macs="1M") if searched else None, "winner" if searched else "trained")


def test_no_two_strategies_or_hand_designed_networks_share_a_colour() -> None:
    colours = [network_colour(name) for name in (*STRATEGIES, *baselines())]
    distances = [
        sum((one - two) ** 2 for one, two in zip(*pair, strict=True)) for pair in itertools.combinations(colours, 2)
    ]
    assert min(distances) > 1e-3
    together = ("gdas", "halving", "evolution", "mobilenetv3-small", "mobilenetv3-small-xsep", "random")
    demo = [network_colour(name) for name in together]
    for one, two in itertools.combinations(demo, 2):
        assert sum((a - b) ** 2 for a, b in zip(one, two, strict=True)) > 0.15
    assert network_colour("any folder") == network_colour("any folder")


def test_a_figure_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"

    def fail() -> None:
        with figure(path, 2, 2) as drawing:
            drawing.subplots()
            raise ValueError("no data")

    with pytest.raises(ValueError, match="no data"):
        fail()
    assert list(tmp_path.iterdir()) == []
    with figure(path, 2, 2) as drawing:
        drawing.subplots()
    assert path.stat().st_size > 0
    assert not any(map(is_temporary, tmp_path.iterdir()))


def test_no_interval_leaves_the_possible() -> None:
    high, low = row("high", [0.972, 0.986]), row("low", [0.02, 0.0])
    frame = as_frame([high, low])
    assert frame["test_accuracy_high95"].max() == 1
    assert frame["test_accuracy_low95"].min() == 0
    page = as_markdown([high, low], "any", CONDITIONS, PROVENANCE)
    assert "to 100.00 |" in page
    assert "| 0.00 to " in page
    assert "to 100.00%)" in str(high.result)
    assert str(row("one", [0.5]).result) == "one: test accuracy 50.00% (n = 1)"
