"""The files of a comparison: a row for each network as CSV and as Markdown, what it says in words, and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from evaluators.measuring.statistics import Difference, paired_difference
from experiments.figures import MACS_AXIS, draw_bounds, figure, network_colour
from experiments.runs.files import write_text
from experiments.training.retrain import Result
from search_space.network_cost import cost
from strategies.budget.budget import EXACT_METRICS, Budget, format_count

TABLE = "comparison.csv"
PAGE = "comparison.md"
PICTURE = "accuracy_macs.png"
#: the family of random networks
RANDOM = "random"
#: below this a difference is taken to be no accident
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Row:
    """One network of a comparison.

    Attributes:
        result: its test accuracies.
        family: the strategy that found it, the hand-designed network that it is, or its folder's name.
        budget: what it is held against; None where there was no search.
        searched: whether it is a search's winner.
        fitted: whether it is a fair opponent of the winners by its cost (see `experiments.comparison.compare.Control`).
        folder: by which networks of one name are told apart; None for controls.
    """

    result: Result
    family: str
    budget: Budget | None
    searched: bool
    fitted: bool = False
    folder: Path | None = None

    @property
    def role(self) -> str:
        """``winner``, ``control`` (a fair opponent by its cost), ``baseline`` (as it is), or ``trained`` where there
        was no search."""
        if self.searched:
            return "winner"
        if self.budget is None:
            return "trained"
        return "control" if self.fitted else "baseline"

    @property
    def in_budget(self) -> bool | None:
        """None without a budget, and for a hand-designed network inside all bounds on MACs and params if there are
        others: what it costs by those is known for candidates of the space only."""
        if self.budget is None:
            return None
        inside = self.budget.exact.admits(asdict(cost(self.result.architecture)))
        known = self.searched or self.family == RANDOM or set(self.budget.bounds()) <= set(EXACT_METRICS)
        return inside if known or not inside else None


def write_report(
    rows: list[Row], title: str, conditions: dict[str, Any], provenance: dict[str, Any], out: Path
) -> None:
    """Write `TABLE`, `PAGE` and `PICTURE` to ``out``; ``title`` is what the data are called.

    ``conditions`` are ``recipe`` and ``train_on`` of all trainings, ``provenance`` is that of the first of them.
    """
    write_text(out / TABLE, as_frame(rows).to_csv(index=False))
    write_text(out / PAGE, as_markdown(rows, title, conditions, provenance))
    plot_accuracy(rows, title, out / PICTURE)


def as_frame(rows: list[Row]) -> pd.DataFrame:
    """A row for each network; ``lead`` is that of the first winner over the others, in the units of the accuracy."""
    values = []
    winner = next((row.result for row in rows if row.searched), None)
    for row in rows:
        result, lead = row.result, None
        if winner is not None and not row.searched and set(result.seeds) & set(winner.seeds):
            lead = paired_difference(winner.by_seed, result.by_seed)
        costs, accuracy = cost(result.architecture), result.summary
        low, high = accuracy.interval or (None, None)
        lead_low, lead_high = (lead and lead.summary.interval) or (None, None)
        values.append(
            {
                "network": result.name,
                "macs": costs.macs,
                "flops_2x": 2 * costs.macs,
                "params": costs.params,
                "in_budget": row.in_budget,
                "n": len(result.seeds),
                "test_accuracy_mean": accuracy.mean,
                "test_accuracy_std": accuracy.std,
                "test_accuracy_low95": low,
                "test_accuracy_high95": high,
                "seconds_mean": sum(result.seconds) / len(result.seconds),
                "lead_mean": lead and lead.summary.mean,
                "lead_low95": lead_low,
                "lead_high95": lead_high,
                "lead_p": lead and lead.p,
                # what figures need: the colour, what kind of opponent it is, the network itself
                "family": row.family,
                "role": row.role,
                "architecture": str(result.architecture),
            }
        )
    return pd.DataFrame(values)


def as_markdown(rows: list[Row], title: str, conditions: dict[str, Any], provenance: dict[str, Any]) -> str:
    """The page; arguments as of `write_report`."""
    budgets = list(dict.fromkeys(str(row.budget) for row in rows if row.budget is not None))
    cells = [_cells(row, budgets=bool(budgets)) for row in as_frame(rows).to_dict("records")]
    align = {"network": "---", "in budget": ":-:"}
    lines = [
        f"# {title}: {'searched and hand-designed' if budgets else 'trained'} networks",
        "",
        f"| {' | '.join(cells[0])} |",
        f"|{'|'.join(align.get(column, '---:') for column in cells[0])}|",
        *(f"| {' | '.join(row.values())} |" for row in cells),
    ]
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


def _cells(row: dict[Any, Any], *, budgets: bool) -> dict[str, str]:
    """The texts of a row of `as_frame` by column; those on budgets and leads only if there are ``budgets``."""
    several = row["n"] > 1
    spread = f" ± {100 * row['test_accuracy_std']:.2f}" if several else ""
    interval = f"{100 * row['test_accuracy_low95']:.2f} to {100 * row['test_accuracy_high95']:.2f}" if several else ""
    lead = "" if pd.isna(row["lead_mean"]) else f"{100 * row['lead_mean']:+.2f}"
    return {
        "network": row["network"],
        "MACs": format_count(row["macs"]),
        "params": format_count(row["params"]),
        **({"in budget": {True: "yes", False: "no", None: "unknown"}[row["in_budget"]]} if budgets else {}),
        "test accuracy, %": f"{100 * row['test_accuracy_mean']:.2f}{spread}",
        "95 % confidence": interval,
        "n": str(row["n"]),
        "s per training": f"{row['seconds_mean']:.0f}",
        **({"winner's lead, points": lead} if budgets else {}),
    }


def verdicts(rows: list[Row]) -> list[str]:
    """For each winner that has fair opponents, those of its own budget, what the table says in words."""
    sentences = []
    for winner in (row for row in rows if row.searched):
        fitted = [row for row in rows if row.fitted and row.budget == winner.budget]
        random = [row.result for row in fitted if row.family == RANDOM]
        opponents = {row.result.name: row.result.by_seed for row in fitted if row.family != RANDOM}
        if random:
            common = set.intersection(*(set(result.seeds) for result in random))
            means = {seed: fmean(result.by_seed[seed] for result in random) for seed in sorted(common)}
            opponents[f"the mean of {len(random)} random networks of the budget"] = means
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
        axes.locator_params(axis="x", nbins=5)  # networks that fill a small budget differ in the fourth digit only
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)


def verdict(winner: Result, opponents: Mapping[str, Mapping[int, float]]) -> str:
    """One sentence for each opponent and one on all of them together.

    ``opponents`` are accuracies on the test images, in [0, 1], by seed, by what sentences call the network or the group
    of networks that have them.
    """
    leads = {label: paired_difference(winner.by_seed, accuracies) for label, accuracies in opponents.items()}
    sentences = [f"{winner.name} is {_judgement(lead)} {label} ({points(lead)})." for label, lead in leads.items()]
    return " ".join([*sentences, _summary(winner.name, list(leads.values()))])


def points(lead: Difference) -> str:
    """``+0.83 points, 95 % interval 0.10 to 1.56, paired over 3 seeds, p = 0.041``."""
    summary = lead.summary
    text = f"{100 * summary.mean:+.2f} points"
    if summary.interval is None or lead.p is None:
        return f"{text}, one seed"
    low, high = summary.interval
    probability = "p < 0.001" if lead.p < 0.001 else f"p = {lead.p:.3f}"
    return f"{text}, 95 % interval {100 * low:.2f} to {100 * high:.2f}, paired over {summary.n} seeds, {probability}"


def _judgement(lead: Difference) -> str:
    if lead.p is None:
        return "above" if lead.summary.mean > 0 else "not above"
    if lead.p >= SIGNIFICANT:
        return "not distinguishable from"
    return "better than" if lead.summary.mean > 0 else "worse than"


def _summary(name: str, leads: Sequence[Difference]) -> str:
    if all(lead.p is not None and lead.p < SIGNIFICANT and lead.summary.mean > 0 for lead in leads):
        return f"So the search for the {name} paid."
    if all(lead.summary.mean > 0 for lead in leads):
        return "It is ahead of all of them, but by too little to rule out chance with so few seeds."
    return f"So it is not shown that the search for the {name} paid."
