"""Parquet files on disk: one file, or a folder of them, as image data sets are published.

The start of a file's name, or the name of the folder it lies in, says which split it belongs to
(``train-00000-of-00002.parquet``, ``train/part-0.parquet``), in any letter case; hidden files are ignored. If no name
says a split, all files are training images. `evaluators.sources.table` says which columns are taken.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import partial
from pathlib import Path

from evaluators.sources.base import VALIDATION_NAMES, Source, files_origin, reason, source, unusable
from evaluators.sources.table import table_source
from search_space.base.checks import require, shown

_MAGIC = b"PAR1"
_SPLITS = ("train", *VALIDATION_NAMES, "test")


@source(
    "<file or folder of Parquet>",
    "Parquet with an image and a label column; file names beginning with train, validation or test say the split",
)
def open_parquet(name: str, path: Path | None) -> Source | None:
    """List the images in a Parquet file, or in those below a folder, without decoding them.

    Raises:
        InvalidRequest: a file is damaged, or as `table_source`.
    """
    if path is None or not _is_parquet_data(name, path):
        return None
    import datasets

    files = [path] if path.is_file() else _parquet_files(path)
    splits = _by_split(name, files, path)
    try:
        # from_parquet maps a copy into memory, in the folder of the library's own cache, rather than reading it all
        rows = {
            split: datasets.Dataset.from_parquet([str(part) for part in parts], split=datasets.NamedSplit(split))
            for split, parts in splits.items()
        }
    # the library lets through whatever pyarrow raises
    except Exception as error:
        why = f"has Parquet files that cannot be read ({reason(error.__cause__ or error)})"
        raise unusable(name, why, "repair or remove them") from error
    return table_source(
        name,
        rows,
        {split: partial(files_origin, parts, "parquet") for split, parts in splits.items()},
        remedy="call the training files train-*.parquet, or put them into train/",
    )


def _is_parquet_data(name: str, path: Path) -> bool:
    """Return whether ``path`` is a Parquet file, or a folder with one in it or in a split folder or data/ of it."""
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) == _MAGIC:
                return True
        misnamed = path.suffix.lower() == ".parquet"
        require(not misnamed, "data.name", name, "is not Parquet, whatever its name says", "fetch it again")
        return False
    folders = [path, *(path / entry for entry in os.listdir(path) if entry.lower() == "data" or _split_of(entry))]
    for folder in folders:
        # a folder that cannot be listed is reported where it is listed as one of images
        with suppress(OSError):
            if any(map(_is_parquet, os.listdir(folder))):
                return True
    return False


def _parquet_files(folder: Path) -> list[Path]:
    """Return all Parquet files below ``folder`` in the order of their names; hidden files and folders are left out."""
    files = [
        file
        for file in folder.rglob("*")
        if _is_parquet(file.name)
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    ]
    return sorted(files, key=lambda file: file.relative_to(folder).parts)


def _is_parquet(file_name: str) -> bool:
    """Return whether a file of that name is to be read."""
    return not file_name.startswith(".") and file_name.lower().endswith(".parquet")


def _split_of(name: str) -> str | None:
    """Return the split that the name of a file or folder begins with; None if it says none."""
    word = re.split(r"[-_.\d]", name.lower(), maxsplit=1)[0]
    return word if word in _SPLITS else None


def _by_split(name: str, files: list[Path], root: Path) -> dict[str, list[Path]]:
    if root.is_file():  # it holds the training images, whatever its name says
        return {"train": files}
    splits: dict[str | None, list[Path]] = {}
    for file in files:
        # the nearest name counts
        named = (_split_of(part) for part in reversed(file.relative_to(root).parts))
        splits.setdefault(next(filter(None, named), None), []).append(file)
    unnamed = splits.pop(None, [])
    if unnamed and splits:
        why = f"has a file {shown(unnamed[0].name)} whose name says no split, while the names of others do"
        raise unusable(name, why, "let it begin with train, validation or test")
    return {split: parts for split, parts in splits.items() if split is not None} or {"train": unnamed}
