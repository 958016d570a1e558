"""The files of a comparison: its table as CSV, Markdown and LaTeX, and what it says in words.

The picture is one of the page (`experiments.report`) beside them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.comparison.rows import Latencies, Row, as_frame
from experiments.comparison.verdicts import verdicts
from experiments.runs.files import write_text
from experiments.significance import shown_p
from strategies.budget.budget import format_count

TABLE = "comparison.csv"
PAGE = "comparison.md"
LATEX = "comparison.tex"
PICTURE = "accuracy_macs.png"


def write_report(
    rows: list[Row],
    title: str,
    conditions: dict[str, Any],
    provenance: dict[str, Any],
    out: Path,
    *,
    reference: str | None = None,
    latencies: Latencies | None = None,
) -> None:
    """Write `TABLE`, `PAGE` and `LATEX` to ``out``; ``title`` is what the data are called.

    ``conditions`` are ``recipe`` and ``train_on`` of all trainings, ``provenance`` is that of the first of them,
    ``reference`` is the name of the network that all are held against.
    """
    write_text(out / TABLE, as_frame(rows, reference, latencies).to_csv(index=False))
    write_text(out / PAGE, as_markdown(rows, title, conditions, provenance, reference=reference, latencies=latencies))
    write_text(out / LATEX, as_latex(rows, reference=reference, latencies=latencies))


def as_markdown(
    rows: list[Row],
    title: str,
    conditions: dict[str, Any],
    provenance: dict[str, Any],
    *,
    reference: str | None = None,
    latencies: Latencies | None = None,
) -> str:
    """The page; arguments as of `write_report`."""
    budgets = _budgets(rows)
    cells = _cells(rows, reference, latencies)
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
    notes = [f"Budget: {'; '.join(budgets)}."] if budgets else []
    notes.append(
        f"Accuracy: {_spread_note(rows)}of the last epoch's weights on {_images(rows)}; trained on"
        f" {conditions['train_on']}, {recipe['epochs']} epochs, batch {recipe['batch_size']}, peak learning rate"
        f" {recipe['learning_rate']:g}. MACs are multiply-accumulates per image (FLOPs, at two per MAC, are twice as"
        " many)."
    )
    if reference is not None:
        notes.append(
            f"Differences are those to {reference}, paired over seeds, with a 95 % interval and the p of a two-sided"
            " paired t-test; each p is of one comparison alone."
        )
    if latencies is not None:
        notes.append(f"Latency: {latencies.note}.")
    lines += [
        "",
        " ".join(notes),
        "",
        f"Machine of the first network: {provenance['processor']}, {provenance['cores']} cores,"
        f" {provenance['accelerator']}; torch {provenance['versions']['torch']}.",
        "",
        f"![accuracy against MACs]({PICTURE})",
        "",
    ]
    return "\n".join(lines)


def as_latex(rows: list[Row], *, reference: str | None = None, latencies: Latencies | None = None) -> str:
    """The table as a LaTeX ``tabular``; arguments as of `write_report`."""
    cells = pd.DataFrame(_cells(rows, reference, latencies))
    style = cells.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    text = style.to_latex(hrules=True, column_format="l" + "r" * (len(cells.columns) - 1))
    text = re.sub(r"(?<!\S)[(]?[-+](?=\d)", lambda sign: sign[0][:-1] + f"${sign[0][-1]}$", text)
    return "% needs \\usepackage{booktabs}\n" + text.replace("±", r"$\pm$").replace("<", "$<$")


def _budgets(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(str(row.budget) for row in rows if row.budget is not None))


def _cells(rows: list[Row], reference: str | None, latencies: Latencies | None) -> list[dict[str, str]]:
    """The texts of each row by column, as people read them; columns that say nothing are left out."""
    budgets = bool(_budgets(rows))
    return [
        _texts(row, budgets=budgets, latency=latencies is not None, reference=reference)
        for row in as_frame(rows, reference, latencies).to_dict("records")
    ]


def _texts(row: dict[Any, Any], *, budgets: bool, latency: bool, reference: str | None) -> dict[str, str]:
    several = row["n"] > 1
    spread = f" ± {100 * row['test_accuracy_std']:.2f}" if several else ""
    texts = {
        "network": row["network"],
        "MACs": format_count(row["macs"]),
        "params": format_count(row["params"]),
    }
    if budgets:
        texts["in budget"] = {True: "yes", False: "no", None: "unknown"}[row["in_budget"]]
    if latency:
        texts["latency, ms"] = f"{row['latency_ms']:.3g}"
    texts |= {
        "test accuracy, %": f"{100 * row['test_accuracy_mean']:.2f}{spread}",
        "95 % confidence": _range(row, "test_accuracy") if several else "",
        "n": str(row["n"]),
        "s per training": f"{row['seconds_mean']:.0f}",
    }
    if reference is not None:
        mean = "" if pd.isna(row["difference_mean"]) else f"{100 * row['difference_mean']:+.2f}"
        interval = "" if pd.isna(row["difference_low95"]) else f" ({_range(row, 'difference')})"
        texts[f"difference to {reference}, points"] = f"{mean}{interval}"
        texts["p"] = "" if pd.isna(row["difference_p"]) else shown_p(row["difference_p"])
    return texts


def _range(row: dict[Any, Any], figure_name: str) -> str:
    return f"{100 * row[f'{figure_name}_low95']:.2f} to {100 * row[f'{figure_name}_high95']:.2f}"


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
