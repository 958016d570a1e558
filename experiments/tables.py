"""Tables of text: as wide as the terminal, or as COLUMNS says; without either every row is one line."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Sequence
from io import StringIO

#: wide enough for every row to stay one line
_UNLIMITED = 10_000


def table(rows: Iterable[Sequence[object]], header: Sequence[str] = (), right: Collection[int] = ()) -> str:
    """Rows in columns two spaces apart, those numbered in ``right`` aligned right. Cells that are too long wrap."""
    from rich.console import Console
    from rich.table import Table

    width = shutil.get_terminal_size((_UNLIMITED, 24)).columns
    cells = [[str(cell) for cell in row] for row in rows]
    grid = Table(box=None, show_header=bool(header), pad_edge=False, padding=(0, 2, 0, 0), header_style="none")
    for position in range(max(map(len, cells), default=0)):
        name = header[position] if header else ""
        grid.add_column(name, justify="right" if position in right else "left", overflow="fold")
    for row in cells:
        grid.add_row(*row)
    text = StringIO()
    Console(file=text, width=width, color_system=None, markup=False, highlight=False, emoji=False).print(grid)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())
