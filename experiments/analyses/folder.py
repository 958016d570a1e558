"""What an analysis leaves: a table (CSV), all figures (JSON) and a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.runs.claimed_folder import ClaimedFolder, FolderKind
from experiments.runs.files import Table, write_json


def folder_of(name: str, out: Path) -> ClaimedFolder:
    """The folder ``out`` for the analysis called ``name``; several analyses can share one."""
    return ClaimedFolder(out, FolderKind("an analysis", (f"{name}.csv", f"{name}.json", f"{name}.png")))


def write_analysis(
    name: str,
    out: Path,
    rows: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    draw: Callable[[Path], None],
    *,
    overwrite: bool,
) -> None:
    """Write ``NAME.csv`` (``rows``), ``NAME.png`` (by ``draw``) and, last, ``NAME.json`` (``facts``) to ``out``."""
    folder_of(name, out).claim(overwrite=overwrite)
    texts = [{key: _text(value) for key, value in row.items()} for row in rows]
    Table(out / f"{name}.csv", list(rows[0])).keep(texts)
    draw(out / f"{name}.png")
    write_json(out / f"{name}.json", dict(facts))


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
