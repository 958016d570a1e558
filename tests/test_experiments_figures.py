"""The same network has the same colour in every figure, and no figure shows an accuracy that cannot be."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex

import experiments.figures as figures_module
from experiments.comparison.report import as_markdown, plot_accuracy
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


def drawn(rows: list[Row], path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, Any]]:
    """Colour and shape of each network in the figure of ``rows``, by its name in the legend."""
    points: dict[str, tuple[str, Any]] = {}
    with monkeypatch.context() as patch:
        save = figures_module.Figure.savefig

        def look(self: Any, *args: Any, **options: Any) -> None:
            for container in self.axes[0].containers:
                line = container.lines[0]
                points[container.get_label()] = (to_hex(line.get_color()), line.get_marker())
            save(self, *args, **options)

        patch.setattr(figures_module.Figure, "savefig", look)
        plot_accuracy(rows, "any", path)
    return points


def test_a_network_keeps_its_colour_whatever_is_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, other, winner = row("mobilenetv3-small", [0.9]), row("mine", [0.8]), row("gdas", [0.7], searched=True)
    path = tmp_path / "figure.png"
    first = drawn([winner, small], path, monkeypatch)
    second = drawn([small, other, winner], path, monkeypatch)
    assert set(second) == {"mobilenetv3-small", "mine", "gdas"}
    assert first == {name: second[name] for name in first}
    assert len({colour for colour, _ in second.values()}) == 3


def test_networks_of_one_family_differ_in_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row("gdas", [0.9], searched=True), row("gdas", [0.8], searched=True)]
    for position, one in enumerate(rows):
        object.__setattr__(one.result, "name", f"gdas winner ({position})")
    (colour, shape), (second_colour, second_shape) = drawn(rows, tmp_path / "figure.png", monkeypatch).values()
    assert colour == second_colour
    assert shape != second_shape


def test_a_winner_is_known_by_its_row_not_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [
        drawn([row("the winner of last year", [0.9], searched=searched)], tmp_path / "f.png", monkeypatch)
        for searched in (True, False)
    ]
    assert [shape for points in shapes for _, shape in points.values()] == ["o", "s"]


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
