"""The table of a comparison: as a frame for CSV, and as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from experiments.training.retrain import Result
from search_space.layer_cost import Cost
from search_space.network_cost import cost
from strategies.budget.budget import EXACT_METRICS, Budget, format_count


@dataclass(frozen=True)
class Row:
    """One network of a comparison.

    Attributes:
        result: its test accuracies.
        budget: what it is held against; None where there was no search.
        searched: whether it is a search's winner.
    """

    result: Result
    budget: Budget | None
    searched: bool


def as_frame(rows: list[Row]) -> pd.DataFrame:
    """One row a network."""
    values = []
    for row in rows:
        result = row.result
        own, accuracy = cost(result.architecture), result.summary
        low, high = accuracy.interval or (None, None)
        values.append(
            {
                "network": result.name,
                "macs": own.macs,
                "flops_2x": 2 * own.macs,
                "params": own.params,
                "in_budget": None if row.budget is None else _in_budget(row.budget, own, searched=row.searched),
                "n": len(result.seeds),
                "test_accuracy_mean": accuracy.mean,
                "test_accuracy_std": accuracy.std,
                "test_accuracy_low95": low,
                "test_accuracy_high95": high,
                "seconds_mean": sum(result.seconds) / len(result.seconds),
            }
        )
    return pd.DataFrame(values)


def _in_budget(budget: Budget, own: Cost, *, searched: bool) -> bool | None:
    """Whether a network is inside; None for a hand-designed one under a bound on the user's own costs, which are known
    for candidates of the searched space only. The search has proved it for its winners."""
    inside = all(
        (low is None or getattr(own, metric) >= low) and (high is None or getattr(own, metric) <= high)
        for metric, (low, high) in budget.bounds().items()
        if metric in EXACT_METRICS
    )
    own_costs = set(budget.bounds()) - set(EXACT_METRICS)
    return inside if searched or not inside or not own_costs else None


_TOLD = {True: "yes", False: "no", None: "unknown"}


def as_markdown(rows: list[Row], title: str, trained: dict[str, Any], made: dict[str, Any] | None) -> str:
    """The report's text.

    Args:
        rows: the networks.
        title: what the data are called.
        trained: ``recipe`` and ``train_on``, the same for all.
        made: provenance of the first of them, if it is known.
    """
    budgets = list(dict.fromkeys(str(row.budget) for row in rows if row.budget is not None))
    head = ["network", "MACs", "params", *(["in budget"] if budgets else [])]
    head += ["test accuracy, %", "95 % confidence", "n", "s a training"]
    align = ["---", "---:", "---:", *([":-:"] if budgets else []), "---:", "---:", "---:", "---:"]
    lines = [
        f"# {title}: {'searched and hand-designed' if budgets else 'trained'} networks",
        "",
        f"| {' | '.join(head)} |",
        f"|{'|'.join(align)}|",
    ]
    for row in as_frame(rows).to_dict("records"):
        alone = row["n"] == 1
        spread = "" if alone else f" ± {100 * row['test_accuracy_std']:.2f}"
        low, high = row["test_accuracy_low95"], row["test_accuracy_high95"]
        # Student's t knows no bounds; no accuracy is above 100 %
        interval = "" if alone else f"{100 * max(0.0, low):.2f} to {100 * min(1.0, high):.2f}"
        cells = [row["network"], format_count(row["macs"]), format_count(row["params"])]
        cells += [_TOLD[row["in_budget"]]] if budgets else []
        cells += [f"{100 * row['test_accuracy_mean']:.2f}{spread}", interval]
        cells += [str(row["n"]), f"{row['seconds_mean']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    recipe = trained["recipe"]
    budget = f"Budget: {'; '.join(budgets)}. " if budgets else ""
    lines += [
        "",
        f"{budget}Accuracy: {_accuracy(rows)}of the last epoch's weights on {_images(rows)}; trained on"
        f" {trained['train_on']}, {recipe['epochs']} epochs, batch {recipe['batch_size']}, peak learning rate"
        f" {recipe['learning_rate']:g}. MACs are multiply-accumulates of one image (FLOPs counted as two a MAC: twice"
        " as many).",
        "",
    ]
    if made is not None:
        lines += [
            f"Machine of the first network: {made['processor']}, {made['cores']} cores, {made['accelerator']}; torch"
            f" {made['versions']['torch']}.",
            "",
        ]
    lines += ["![accuracy against MACs](accuracy_macs.png)", ""]
    return "\n".join(lines)


def _accuracy(rows: list[Row]) -> str:
    """What the figures are over."""
    seeds = {tuple(row.result.seeds) for row in rows}
    if len(seeds) > 1:
        return "mean ± sample standard deviation over n seeds (confidence by Student's t), "
    (own,) = seeds
    if len(own) == 1:
        return f"one training, seed {own[0]}, "
    return f"mean ± sample standard deviation over seeds {', '.join(map(str, own))} (confidence by Student's t), "


def _images(rows: list[Row]) -> str:
    counts = {row.result.test_images for row in rows if row.result.test_images is not None}
    return f"{counts.pop():,} test images" if len(counts) == 1 else "the test images"
