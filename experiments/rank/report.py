"""The files of a ranking: a row for each architecture, the figures, a page in words, a picture."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evaluators.measuring.ranking import RESAMPLES, Estimate, Ranking, top_share
from evaluators.training.recipes import Recipe
from experiments.figures import MACS_AXIS, figure
from experiments.options.config import SearchConfig
from experiments.rank.verdict import Source, Verdict, interval_text, tau_text
from experiments.runs.files import write_json, write_text
from experiments.runs.folder import RANK_FILE
from experiments.runs.provenance import provenance
from search_space.architecture import Architecture
from strategies.budget.budget import format_count


@dataclass(frozen=True)
class Measured:
    """An architecture, what was predicted of it, and its validation accuracies, in [0, 1].

    Attributes:
        architecture: what was measured.
        macs: multiply-accumulates per image.
        params: parameters.
        predicted: minus the loss with inherited weights, or another score of which more is better.
        standalone: {seed: accuracy} of each training on its own; NaN where it diverged.
        seconds: that these trainings took.
    """

    architecture: Architecture
    macs: int
    params: int
    predicted: float
    standalone: dict[int, float]
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether a training diverged."""
        return not all(map(math.isfinite, self.standalone.values()))

    @property
    def mean(self) -> float:
        """Mean stand-alone accuracy; NaN if a training diverged."""
        return float(np.mean(list(self.standalone.values())))


@dataclass(frozen=True)
class RankReport:
    """All that a ranking found.

    Attributes:
        source: what ranks.
        measured: the architectures, cheapest first.
        seeds: of the stand-alone trainings; some architectures may lack some of them.
        agreement: the figures, over the architectures all of whose trainings ended well.
        verdict: whether the ranking can be trusted.
        recipe: of the stand-alone trainings.
        validation_images: number of images that everything was measured on.
    """

    source: Source
    measured: list[Measured]
    seeds: list[int]
    agreement: Ranking
    verdict: Verdict
    recipe: Recipe
    validation_images: int


def write_report(report: RankReport, config: SearchConfig, device: str, folder: Path) -> None:
    """Write ``rank.csv``, ``rank.json``, ``rank.png`` and, last, ``rank.md`` to ``folder``."""
    made = provenance(config.seed, device)
    write_text(folder / "rank.csv", _table(report).to_csv(index=False))
    write_json(folder / RANK_FILE, _as_json(report, config, made))
    plot_ranking(report, config.data.display_name, folder / "rank.png")
    write_text(folder / "rank.md", markdown(report, config, made))


def _table(report: RankReport) -> pd.DataFrame:
    sound = [one for one in report.measured if not one.failed]
    top = dict(zip(map(id, sound), top_share(np.round([one.mean for one in sound], 6)), strict=True))
    return pd.DataFrame(
        [
            {
                "macs": one.macs,
                "params": one.params,
                "predicted": one.predicted,
                "standalone_accuracy": one.mean,
                **{f"seed{seed}_accuracy": one.standalone.get(seed) for seed in report.seeds},
                "failed": one.failed,
                "top_fifth": bool(top.get(id(one), False)),
                "seconds": round(one.seconds, 2),
                "architecture": str(one.architecture),
            }
            for one in report.measured
        ]
    )


def _as_json(report: RankReport, config: SearchConfig, made: dict[str, Any]) -> dict[str, Any]:
    return {
        "ranked_by": report.source.name,
        "verdict": asdict(report.verdict),
        "kendall_tau_b": asdict(report.agreement),
        "bootstrap_resamples": RESAMPLES,
        "failed": [str(one.architecture) for one in report.measured if one.failed],
        "architectures": len(report.measured),
        "seeds": report.seeds,
        "recipe": asdict(report.recipe),
        "validation_images": report.validation_images,
        "data": asdict(config.data),
        "budget": str(config.budget),
        "strategy": asdict(config.strategy),
        "supernet_recipe": asdict(config.search),
        "provenance": made,
    }


def markdown(report: RankReport, config: SearchConfig, made: dict[str, Any]) -> str:
    """The page: the answer, the taus with their intervals, and how they came about."""
    agreement, seeds = report.agreement, report.seeds
    name = report.source.name
    rows: list[tuple[str, Estimate | None]] = [
        (name, agreement.predicted),
        (f"{name}, top fifth by stand-alone accuracy", agreement.top),
        ("MACs alone, more being better", agreement.costs["macs"]),
        ("params alone, more being better", agreement.costs["params"]),
        (f"{name} less sorting by MACs (paired)", agreement.over_costs["macs"]),
        (f"{name} less sorting by params (paired)", agreement.over_costs["params"]),
        ("a training by another seed: the noise ceiling", agreement.ceiling),
        (f"{name}, against trainings of one seed as the ceiling is", agreement.single),
        ("ceiling less that (paired)", agreement.below_ceiling),
    ]
    failed = [one for one in report.measured if one.failed]
    low, high = (100 * bound for bound in agreement.accuracies)
    noise = ""
    if agreement.noise is not None:
        noise = f"; one architecture's spread over seeds: {100 * agreement.noise:.2f} points (std)"
    several = len(seeds) > 1
    trained = f"by seeds {', '.join(map(str, seeds))}{_lacking(report)}" if several else f"once, seed {seeds[0]}"
    means = "means over seeds" if several else "one training each"
    lines = [
        f"# {config.data.display_name}: can the {name}'s ranking be trusted?",
        "",
        f"**{report.verdict.trusted.capitalize()}.** {report.verdict.text}",
        "",
        "| ranking by | Kendall's tau | 95 % interval | n |",
        "|---|---:|---:|---:|",
        *(f"| {name} | {tau_text(estimate)} | {interval_text(estimate)} | {_n(estimate)} |" for name, estimate in rows),
        "",
        "Tau (tau-b) is the share of pairs of architectures in the same order as by stand-alone accuracy, less the"
        " share in opposite order: 1 is the same ranking, 0 none, -1 the reverse. It is noisy where accuracies lie"
        " close together: architectures that differ by less than two trainings of one of them come in either order by"
        " chance, so tau in a narrow range, as in the top fifth or under a tight budget, is low for any measure. Hold"
        " it against the ceiling. Where the tau of a cost is negative, sorting by it means cheapest first."
        f" Intervals: percentile bootstrap over architectures, {RESAMPLES:,} resamples; one"
        " without width means that all pairs agree, not that tau is known so well.",
        "",
        f"{len(report.measured)} architectures ({format_count(report.measured[0].macs)} to"
        f" {format_count(report.measured[-1].macs)} MACs) inside the budget ({config.budget}), each trained on its own"
        f" {trained}: {report.recipe.epochs} epochs, batch {report.recipe.batch_size}, peak learning rate"
        f" {report.recipe.learning_rate:g}. The search: {config.strategy.name}, {config.search.epochs} epochs. All"
        f" accuracies are on {report.validation_images:,} validation images; the test images were not used. Stand-alone"
        f" accuracies, {means}: {low:.2f} % to {high:.2f} %{noise}. All trainings took"
        f" {sum(one.seconds for one in report.measured) / 60:.1f} minutes.",
        "",
    ]
    if failed:
        lines += [
            f"{len(failed)} of {len(report.measured)} architectures had a training that diverged. They are left out of"
            f" every tau, which says nothing about how the {name} ranks them:",
            "",
            *(f"- {format_count(one.macs)} MACs, {name} {one.predicted:.4f}: `{one.architecture}`" for one in failed),
            "",
        ]
    lines += [
        f"Machine: {made['processor']}, {made['cores']} cores, {made['accelerator']}; torch"
        f" {made['versions']['torch']}.",
        "",
        f"![stand-alone accuracy against what the {name} predicts](rank.png)",
        "",
    ]
    return "\n".join(lines)


def _lacking(report: RankReport) -> str:
    whole = sum(len(one.standalone) == len(report.seeds) for one in report.measured)
    return "" if whole == len(report.measured) else f" ({whole} of them by all, the others by some)"


def plot_ranking(report: RankReport, data_name: str, path: Path) -> None:
    """Stand-alone accuracy against predictions: a point for each architecture, MACs as colour, seeds as ticks."""
    sound = [one for one in report.measured if not one.failed]
    with figure(path, 6.4, 4.8) as drawing:
        axes = drawing.subplots()
        scale = 100 if report.source.unit.endswith("%") else 1
        predicted = [scale * one.predicted for one in sound]
        means = [100 * one.mean for one in sound]
        if len(report.seeds) > 1:
            lows, highs = ([100 * pick(one.standalone.values()) for one in sound] for pick in (min, max))
            axes.vlines(predicted, lows, highs, color="0.75", linewidth=1, zorder=1)
        points = axes.scatter(
            predicted,
            means,
            c=[one.macs / 1e6 for one in sound],
            cmap="viridis",
            s=42,
            edgecolor="white",
            linewidth=0.6,
            zorder=2,
        )
        drawing.colorbar(points, ax=axes, label=MACS_AXIS)
        axes.set_xlabel(report.source.unit)
        seeds = len(report.seeds)
        axes.set_ylabel("stand-alone accuracy, %" + (f" (mean and range of {seeds} seeds)" if seeds > 1 else ""))
        tau = report.agreement.predicted
        axes.set_title(
            f"{data_name}, validation images\n"
            f"Kendall's tau {tau_text(tau)}, 95 % interval {interval_text(tau)}, n = {tau.n}",
            fontsize=10,
        )
        axes.grid(alpha=0.3)


def _n(estimate: Estimate | None) -> str:
    return "n/a" if estimate is None else str(estimate.n)
