"""The files of a comparison: a row for each network as CSV and as Markdown, and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from evaluators.measuring.statistics import paired_difference
from experiments.comparison.controls import RANDOM
from experiments.comparison.verdict import by_seed, group, one, verdict
from experiments.figures import MACS_AXIS, draw_bounds, figure, network_colour
from experiments.runs.files import write_text
from experiments.training.retrain import Result
from search_space.layer_cost import Cost
from search_space.network_cost import cost
from strategies.budget.budget import EXACT_METRICS, Budget, format_count

TABLE = "comparison.csv"
PAGE = "comparison.md"
PICTURE = "accuracy_macs.png"


@dataclass(frozen=True)
class Row:
    """One network of a comparison.

    Attributes:
        result: its test accuracies.
        family: the strategy that found it, the hand-designed network that it is, or its folder's name.
        budget: what it is held against; None where there was no search.
        searched: whether it is a search's winner.
        fitted: whether it is a fair opponent of the winners by its cost (see `experiments.comparison.controls`).
    """

    result: Result
    family: str
    budget: Budget | None
    searched: bool
    fitted: bool = False


def write_report(
    rows: list[Row], title: str, conditions: dict[str, Any], provenance: dict[str, Any], out: Path
) -> None:
    """Write `TABLE`, `PAGE` and `PICTURE` to ``out``.

    Args:
        rows: the networks.
        title: what the data are called.
        conditions: ``recipe`` and ``train_on`` of the trainings, the same for all.
        provenance: of the first of them.
        out: the folder.
    """
    write_text(out / TABLE, as_frame(rows).to_csv(index=False))
    write_text(out / PAGE, as_markdown(rows, title, conditions, provenance))
    plot_accuracy(rows, title, out / PICTURE)


def as_frame(rows: list[Row]) -> pd.DataFrame:
    """A row for each network; ``lead`` is that of the first winner over the others, in the units of the accuracy."""
    values = []
    winner = next((row for row in rows if row.searched), None)
    for row in rows:
        lead = None
        if winner is not None and not row.searched and set(row.result.seeds) & set(winner.result.seeds):
            lead = paired_difference(by_seed(winner.result), by_seed(row.result))
        result = row.result
        costs, accuracy = cost(result.architecture), result.summary
        low, high = accuracy.interval or (None, None)
        values.append(
            {
                "network": result.name,
                "macs": costs.macs,
                "flops_2x": 2 * costs.macs,
                "params": costs.params,
                "in_budget": None
                if row.budget is None
                else _in_budget(row.budget, costs, proved=row.searched or row.family == RANDOM),
                "n": len(result.seeds),
                "test_accuracy_mean": accuracy.mean,
                "test_accuracy_std": accuracy.std,
                "test_accuracy_low95": low,
                "test_accuracy_high95": high,
                "seconds_mean": sum(result.seconds) / len(result.seconds),
                "lead_mean": None if lead is None else lead.summary.mean,
                "lead_low95": None if lead is None or lead.summary.interval is None else lead.summary.interval[0],
                "lead_high95": None if lead is None or lead.summary.interval is None else lead.summary.interval[1],
                "lead_p": None if lead is None else lead.p,
            }
        )
    return pd.DataFrame(values)


def _in_budget(budget: Budget, costs: Cost, *, proved: bool) -> bool | None:
    """Whether a network is inside; None for a hand-designed one under a bound on the user's own costs, which are known
    for candidates of the searched space only. For these, winners and random networks, it is ``proved``."""
    inside = all(
        (low is None or getattr(costs, metric) >= low) and (high is None or getattr(costs, metric) <= high)
        for metric, (low, high) in budget.bounds().items()
        if metric in EXACT_METRICS
    )
    bounds_others = set(budget.bounds()) - set(EXACT_METRICS)
    return inside if proved or not inside or not bounds_others else None


_IN_BUDGET = {True: "yes", False: "no", None: "unknown"}


def as_markdown(rows: list[Row], title: str, conditions: dict[str, Any], provenance: dict[str, Any]) -> str:
    """The page; arguments as of `write_report`."""
    budgets = list(dict.fromkeys(str(row.budget) for row in rows if row.budget is not None))
    head = ["network", "MACs", "params", *(["in budget"] if budgets else [])]
    head += ["test accuracy, %", "95 % confidence", "n", "s per training"]
    align = ["---", "---:", "---:", *([":-:"] if budgets else []), "---:", "---:", "---:", "---:"]
    if budgets:
        head.append("winner's lead, points")
        align.append("---:")
    lines = [
        f"# {title}: {'searched and hand-designed' if budgets else 'trained'} networks",
        "",
        f"| {' | '.join(head)} |",
        f"|{'|'.join(align)}|",
    ]
    for row in as_frame(rows).to_dict("records"):
        single = row["n"] == 1
        spread = "" if single else f" ± {100 * row['test_accuracy_std']:.2f}"
        interval = (
            "" if single else f"{100 * row['test_accuracy_low95']:.2f} to {100 * row['test_accuracy_high95']:.2f}"
        )
        cells = [row["network"], format_count(row["macs"]), format_count(row["params"])]
        cells += [_IN_BUDGET[row["in_budget"]]] if budgets else []
        cells += [f"{100 * row['test_accuracy_mean']:.2f}{spread}", interval]
        cells += [str(row["n"]), f"{row['seconds_mean']:.0f}"]
        if budgets:
            cells.append("" if pd.isna(row["lead_mean"]) else f"{100 * row['lead_mean']:+.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    lines += [line for sentence in verdicts(rows) for line in ("", sentence)]
    recipe = conditions["recipe"]
    budget = f"Budget: {'; '.join(budgets)}. " if budgets else ""
    lines += [
        "",
        f"{budget}Accuracy: {_spread_note(rows)}of the last epoch's weights on {_images(rows)}; trained on"
        f" {conditions['train_on']}, {recipe['epochs']} epochs, batch {recipe['batch_size']}, peak learning rate"
        f" {recipe['learning_rate']:g}. MACs are multiply-accumulates per image (FLOPs, at two per MAC, are twice as"
        " many).",
        "",
        f"Machine of the first network: {provenance['processor']}, {provenance['cores']} cores,"
        f" {provenance['accelerator']}; torch {provenance['versions']['torch']}.",
        "",
        f"![accuracy against MACs]({PICTURE})",
        "",
    ]
    return "\n".join(lines)


def verdicts(rows: list[Row]) -> list[str]:
    """For each winner that has fair opponents, those of its own budget, what the table says in words."""
    sentences = []
    for winner in (row for row in rows if row.searched):
        fitted = [row for row in rows if row.fitted and row.budget == winner.budget]
        random = [row.result for row in fitted if row.family == RANDOM]
        opponents = [one(row.result) for row in fitted if row.family != RANDOM]
        if random:
            opponents.append(group(f"the mean of {len(random)} random networks of the budget", random))
        if opponents:
            sentences.append(verdict(winner.result, opponents))
    return sentences


def _spread_note(rows: list[Row]) -> str:
    """What the accuracies and their spread are over."""
    seeds_of_rows = {tuple(row.result.seeds) for row in rows}
    if len(seeds_of_rows) > 1:
        return "mean ± sample standard deviation over n seeds (confidence by Student's t), "
    (seeds,) = seeds_of_rows
    if len(seeds) == 1:
        return f"one training, seed {seeds[0]}, "
    return f"mean ± sample standard deviation over seeds {', '.join(map(str, seeds))} (confidence by Student's t), "


def _images(rows: list[Row]) -> str:
    counts = {row.result.test_images for row in rows}
    return f"{counts.pop():,} test images" if len(counts) == 1 else "the test images"


def plot_accuracy(rows: list[Row], title: str, path: Path) -> None:
    """Test accuracy against MACs: a point with its standard deviation for each network, each budget as a line (PNG).

    Networks of one family have one colour, and shapes of their own.
    """
    with figure(path, 7.2, 4.4) as drawing:
        axes = drawing.subplots()
        for position, row in enumerate(rows):
            accuracy = row.result.summary
            before = sum(other.family == row.family for other in rows[:position])
            shapes = "o^vDP" if row.searched else "sXp*d"
            axes.errorbar(
                cost(row.result.architecture).macs / 1e6,
                100 * accuracy.mean,
                yerr=None if accuracy.std is None else 100 * accuracy.std,
                fmt=shapes[before % len(shapes)],
                markersize=8,
                capsize=4,
                color=network_colour(row.family),
                label=row.result.name,
            )
        for budget in dict.fromkeys(row.budget for row in rows if row.budget is not None):
            draw_bounds(axes, budget.bounds().get("macs", (None, None)), 1e6, "M")
        counts = sorted({len(row.result.seeds) for row in rows})
        seeds = " or ".join(map(str, counts))
        axes.set_xlabel(MACS_AXIS)
        axes.set_ylabel(f"test accuracy, % (mean ± std, n = {seeds})" if counts != [1] else "test accuracy, % (n = 1)")
        axes.set_title(title)
        axes.grid(alpha=0.3)
        axes.margins(x=0.15, y=0.25)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
