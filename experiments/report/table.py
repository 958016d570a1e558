"""The table of a comparison as a page shows it: texts to read, and the values that it is sorted by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from experiments.significance import shown_p
from strategies.budget.budget import format_count

Row = Mapping[Any, Any]


@dataclass(frozen=True)
class Cell:
    """What stands in it, and what it is sorted by (None: always last)."""

    text: str
    value: float | str | None


#: {column of comparison.csv that must be there: (heading, what makes the text)}; others are shown as they are.
_COLUMNS: dict[str, tuple[str, Callable[[Row], str]]] = {
    "test_accuracy_mean": (
        "test accuracy, %",
        lambda row: _percent(row, "test_accuracy_mean") + _after(" ± ", row, "test_accuracy_std"),
    ),
    "test_accuracy_low95": ("95 % interval", lambda row: _span(row, "test_accuracy")),
    "n": ("n", lambda row: str(row["n"])),
    "macs": ("MACs", lambda row: format_count(row["macs"])),
    "params": ("params", lambda row: format_count(row["params"])),
    "in_budget": ("in budget", lambda row: {True: "yes", False: "no"}.get(row["in_budget"], "unknown")),
    "latency_ms": ("latency, ms", lambda row: f"{row['latency_ms']:.3g}"),
    "seconds_mean": ("s per training", lambda row: f"{row['seconds_mean']:.0f}"),
    "lead_mean": ("winner's lead, points", lambda row: _signed(row, "lead_mean")),
    "lead_p": ("p of the lead", lambda row: shown_p(row["lead_p"])),
    "difference_mean": (
        "difference to {reference}, points",
        lambda row: _signed(row, "difference_mean") + _brackets(_span(row, "difference")),
    ),
    "difference_p": ("its p", lambda row: shown_p(row["difference_p"])),
}
#: columns that say nothing of their own here
_HIDDEN = {
    *("network", "family", "role", "architecture", "flops_2x", "test_accuracy_std", "test_accuracy_high95"),
    *("lead_low95", "lead_high95", "difference_low95", "difference_high95", "reference"),
}


def table(frame: pd.DataFrame) -> tuple[list[str], list[tuple[Row, list[Cell]]]]:
    """The headings behind the network's name, and for each network its row and its cells.

    Columns without any value are left out; columns that are not known here are shown as they are.
    """
    known = [name for name in _COLUMNS if name in frame]
    others = [name for name in map(str, frame) if name not in _COLUMNS and name not in _HIDDEN]
    columns = [name for name in [*known, *others] if frame[name].notna().any()]
    reference = str(frame["reference"].iloc[0]) if "reference" in frame else ""
    headings = [
        _COLUMNS[name][0].format(reference=reference) if name in _COLUMNS else name.replace("_", " ")
        for name in columns
    ]
    rows: list[tuple[Row, list[Cell]]] = []
    for row in frame.to_dict("records"):
        cells = []
        for name in columns:
            value = row[name]
            if pd.isna(value):
                cells.append(Cell("", None))
                continue
            text = _COLUMNS[name][1](row) if name in _COLUMNS else _plain(value)
            cells.append(Cell(text, value if isinstance(value, str) else float(value)))
        rows.append((row, cells))
    return headings, rows


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _percent(row: Row, name: str) -> str:
    return f"{100 * row[name]:.2f}"


def _after(sign: str, row: Row, name: str) -> str:
    return "" if pd.isna(row.get(name)) else sign + _percent(row, name)


def _signed(row: Row, name: str) -> str:
    return f"{100 * row[name]:+.2f}".replace("-", "−")


def _span(row: Row, name: str) -> str:
    low, high = row.get(f"{name}_low95"), row.get(f"{name}_high95")
    return "" if pd.isna(low) or pd.isna(high) else f"{100 * low:.2f} to {100 * high:.2f}".replace("-", "−")


def _brackets(text: str) -> str:
    return f" ({text})" if text else ""
