"""What a run keeps in files: texts, JSON, tables; each whole or not there."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from search_space.base.atomic import is_abandoned, replacing
from search_space.base.checks import plain
from search_space.base.errors import InvalidRequest
from search_space.base.reading import read_text


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text``."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by ``value`` as JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in ``path``; InvalidRequest if it is damaged."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"file: {plain(path, 120)} is damaged ({plain(error, 80)}); repair it or move it away"
        ) from None


def copy_file(source: Path, path: Path) -> None:
    """Replace ``path`` by a copy of ``source``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        shutil.copyfile(source, temporary)


def sweep(folder: Path) -> None:
    """Delete the temporary files that killed processes left in ``folder``; not those of live ones."""
    for entry in folder.iterdir():
        if is_abandoned(entry):
            entry.unlink(missing_ok=True)


class Table:
    """A CSV file that grows row by row.

    A row that a killed run left unfinished is dropped on opening; a column that an earlier version lacks is empty.

    Args:
        path: of the file.
        columns: of what is written.
        kinds: what the fields must be that every row is to have; InvalidRequest if they are not in a row on disk.
    """

    def __init__(
        self, path: Path, columns: Sequence[str], kinds: Mapping[str, Callable[[str], Any]] | None = None
    ) -> None:
        self.path = path
        self.columns = list(columns)
        self.rows: list[dict[str, str]] = []
        self._torn = False
        if path.exists():
            try:
                text = read_text(path)
                whole = text[: text.rfind("\n") + 1]  # a row counts once its line end is on disk
                reader = csv.DictReader(whole.splitlines())
                self.rows = [
                    dict.fromkeys(columns, "") | row for row in reader if None not in row and None not in row.values()
                ]
                self._torn = whole != text or not set(columns) <= set(reader.fieldnames or ())
                for row in self.rows:
                    for name, kind in (kinds or {}).items():
                        kind(row[name])
            except (KeyError, ValueError, csv.Error) as error:  # not UTF-8, fields without end
                why = plain(f"{type(error).__name__}: {error}", 80)
                raise InvalidRequest(
                    f"table: {plain(path, 120)} is damaged ({why}); repair it or move it away"
                ) from None

    def keep(self, rows: list[dict[str, str]]) -> None:
        """Replace the rows and the file."""
        self.rows = list(rows)
        with replacing(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        self._torn = False

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one row and put it on disk; values are kept as text."""
        if self._torn or not self.rows or not self.path.exists():
            self.keep(self.rows)
        text = {column: str(row.get(column, "")) for column in self.columns}
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            csv.DictWriter(stream, self.columns, lineterminator="\n").writerow(text)
            stream.flush()
            os.fsync(stream.fileno())
        self.rows.append(text)
