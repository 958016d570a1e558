"""The files of an attribution: a table ranked by what each operator is worth, a verdict in words, and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from evaluators.measuring.statistics import Difference, holm
from experiments.attribution.swaps import Swap
from experiments.figures import figure
from experiments.report.families import family, family_colour
from experiments.runs.files import write_text
from experiments.significance import SIGNIFICANT, shown_p
from experiments.training.retrain import Result
from search_space.architecture import Architecture
from search_space.layer_cost import Cost
from search_space.network_cost import cost
from strategies.budget.budget import format_count

TABLE, PAGE, PICTURE = "attribution.csv", "attribution.md", "attribution.png"
_NAMES = {"macs": "MACs", "params": "params"}
#: a swapped network whose cost is further from the winner's is no fair opponent (share of the winner's cost)
CLOSE = 0.05


@dataclass(frozen=True)
class Attributed:
    """A swap and what it did.

    Attributes:
        swap: the network.
        result: its test accuracies.
        worth: what the winner's accuracy has over it, paired by seed.
        corrected: the p of ``worth``, corrected by Holm for the number of swaps; None for one seed.
    """

    swap: Swap
    result: Result
    worth: Difference
    corrected: float | None

    @property
    def is_shown(self) -> bool:
        """Whether chance is ruled out."""
        return self.corrected is not None and self.corrected < SIGNIFICANT


def ranked(trained: Sequence[tuple[Swap, Result, Difference]]) -> list[Attributed]:
    """With corrected p, ordered by what the operators are worth, the most first."""
    known = [worth.p for _, _, worth in trained if worth.p is not None]
    corrected: Sequence[float | None] = holm(known) if len(known) == len(trained) else [None] * len(trained)
    rows = [Attributed(*one, p) for one, p in zip(trained, corrected, strict=True)]
    return sorted(rows, key=lambda row: -row.worth.summary.mean)


def write_report(
    rows: list[Attributed], winner: Result, title: str, conditions: dict[str, Any], out: Path, *, metric: str
) -> None:
    """Write `TABLE`, `PAGE` and `PICTURE` to ``out``; ``title`` is what the data are called, ``conditions`` are those
    of all trainings, ``metric`` is what the swaps were to cost equally."""
    write_text(out / TABLE, as_frame(rows, winner).to_csv(index=False))
    write_text(out / PAGE, as_markdown(rows, winner, title, conditions, metric=metric))
    plot(rows, winner, title, out / PICTURE)


def as_frame(rows: list[Attributed], winner: Result) -> pd.DataFrame:
    """A row for each swap; accuracies and ``worth`` in [-1, 1], ``macs_change`` and ``params_change`` as shares."""
    own = cost(winner.architecture)
    values = []
    for row in rows:
        costs, worth, accuracy = cost(row.swap.network), row.worth.summary, row.result.summary
        low, high = worth.interval or (None, None)
        values.append(
            {
                "swap": row.swap.label,
                "operators": row.swap.operators,
                "blocks": " ".join(map(str, row.swap.blocks)),
                "family": row.swap.family,
                "n": worth.n,
                "worth_mean": worth.mean,
                "worth_low95": low,
                "worth_high95": high,
                "p": row.worth.p,
                "p_holm": row.corrected,
                "test_accuracy_mean": accuracy.mean,
                "test_accuracy_std": accuracy.std,
                "macs": costs.macs,
                "macs_change": costs.macs / own.macs - 1,
                "params": costs.params,
                "params_change": costs.params / own.params - 1,
                "seconds_mean": sum(row.result.seconds) / len(row.result.seconds),
                "architecture": str(row.swap.network),
            }
        )
    return pd.DataFrame(values)


def as_markdown(rows: list[Attributed], winner: Result, title: str, conditions: dict[str, Any], *, metric: str) -> str:
    """The page; arguments as of `write_report`."""
    columns = ("swapped for plain depthwise", "operators", "worth, points", "95 % interval", "p", "p (Holm)")
    costs = ("test accuracy, %", "MACs", "params")
    head = [*columns, *costs]
    lines = [
        f"# {title}: what the operators of the {winner.name} are worth",
        "",
        verdict(rows, winner),
        "",
        f"| {' | '.join(head)} |",
        f"|---|---|{'---:|' * (len(head) - 2)}",
        *(f"| {' | '.join(_cells(row, cost(winner.architecture)))} |" for row in rows),
    ]
    recipe, provenance, whole = conditions["recipe"], winner.provenance, cost(winner.architecture)
    whole_cost = getattr(whole, metric)
    unequal = [row.swap.label for row in rows if abs(getattr(cost(row.swap.network), metric) / whole_cost - 1) > CLOSE]
    if unequal:
        far = f"More than {CLOSE:.0%} from the winner's {_NAMES[metric]}"
        lines += ["", f"{far}, so not an equal comparison: {', '.join(unequal)}."]
    seeds = ", ".join(map(str, winner.seeds))
    lines += [
        "",
        "Worth is the winner's test accuracy less that of the network with the swap, paired by seed: above 0 the"
        " operator is better than a plain depthwise convolution (`dw`) of the same kernel size, or of the nearest, in a"
        " block as costly. p is that of a two-sided paired t-test, and corrected by Holm for the"
        f" {len(rows)} comparisons of this table. MACs and params are beside their difference to the winner's"
        f" ({format_count(whole.macs)} and {format_count(whole.params)}).",
        "",
        f"The {winner.name}: {_accuracy(winner)} % on {winner.test_images:,} test images; seeds {seeds}; trained on"
        f" {conditions['train_on']}, {recipe['epochs']} epochs, batch {recipe['batch_size']}, peak learning rate"
        f" {recipe['learning_rate']:g}. Machine: {provenance['processor']}, {provenance['cores']} cores,"
        f" {provenance['accelerator']}; torch {provenance['versions']['torch']}.",
        "",
        f"![what each operator is worth]({PICTURE})",
        "",
    ]
    return "\n".join(lines)


def _cells(row: Attributed, whole: Cost) -> list[str]:
    costs, worth = cost(row.swap.network), row.worth.summary
    interval = "" if worth.interval is None else " to ".join(f"{100 * end:.2f}" for end in worth.interval)
    return [
        row.swap.label,
        row.swap.operators,
        f"{100 * worth.mean:+.2f}",
        interval,
        *("" if p is None else shown_p(p) for p in (row.worth.p, row.corrected)),
        _accuracy(row.result),
        *(
            f"{format_count(new)} ({new / old - 1:+.1%})"
            for new, old in ((costs.macs, whole.macs), (costs.params, whole.params))
        ),
    ]


def _accuracy(result: Result) -> str:
    summary = result.summary
    return f"{100 * summary.mean:.2f}" + ("" if summary.std is None else f" ± {100 * summary.std:.2f}")


def verdict(rows: Sequence[Attributed], winner: Result) -> str:
    """What the table says, with the number of comparisons."""
    count = f"{len(rows)} comparison{'s' if len(rows) > 1 else ''}"
    seeds = len(winner.seeds)
    most = max(rows, key=lambda row: abs(row.worth.summary.mean))
    largest = f"{most.swap.label} ({100 * most.worth.summary.mean:+.2f} points)"
    if most.corrected is None:
        return (
            f"One training of each says nothing of chance; the largest of {count} is {largest}. Give more seeds by"
            " --seeds 0,1,2,3,4."
        )
    how = f"Holm's correction for {count}, paired over {seeds} seeds"
    better = [row for row in rows if row.is_shown and row.worth.summary.mean > 0]
    worse = [row for row in rows if row.is_shown and row.worth.summary.mean < 0]
    if not better and not worse:
        return (
            f"It is not shown that the operators of the {winner.name} matter: no swap differs from it by more than"
            f" chance allows ({how}); the largest is {largest}, p = {most.corrected:.3f} when corrected."
        )
    parts = [
        f"{what} {_listed(found)}"
        for what, found in (("plain depthwise is worse in place of", better), ("and better in place of", worse))
        if found
    ]
    return f"The operators of the {winner.name} matter: {', '.join(parts).removeprefix('and ')} ({how})."


def _listed(rows: Sequence[Attributed]) -> str:
    return ", ".join(f"{row.swap.label} ({100 * row.worth.summary.mean:+.2f} points)" for row in rows)


def plot(rows: Sequence[Attributed], winner: Result, title: str, path: Path) -> None:
    """A bar with its 95 % interval for each swap, in the colour of its family; pale ones may be chance (PNG)."""
    assert isinstance(winner.architecture, Architecture)  # a search's winner is never a user's own model
    blocks = winner.architecture.blocks
    with figure(path, 7.2, 1.2 + 0.32 * len(rows)) as drawing:
        axes = drawing.subplots()
        for position, row in enumerate(rows):
            worth = row.worth.summary
            mean, ends = 100 * worth.mean, worth.interval
            operator = blocks[row.swap.blocks[0]].operator
            colour = "0.3" if row.swap.family is None else family_colour(family(operator))
            axes.barh(position, mean, color=colour, alpha=1.0 if row.is_shown else 0.35, height=0.7)
            if ends is not None:
                reach = [[mean - 100 * ends[0]], [100 * ends[1] - mean]]
                axes.errorbar(mean, position, xerr=reach, color="black", capsize=3, linewidth=1)
        axes.set_yticks(range(len(rows)), [row.swap.label for row in rows])
        axes.invert_yaxis()
        axes.axvline(0, color="0.3", linewidth=0.8)
        note = f"95 % intervals, n = {len(winner.seeds)}; pale: may be chance, by Holm for {len(rows)} comparisons"
        axes.set_xlabel(f"worth over plain depthwise at equal cost, points of test accuracy\n({note})")
        axes.set_title(f"{title}: {winner.name}")
        axes.grid(axis="x", alpha=0.3)
