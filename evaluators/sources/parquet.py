"""Parquet files on disk: one file, or a folder of them, as image data sets are published.

Which split a file belongs to is said by the start of its name or by the name of the folder it lies in
(``train-00000-of-00002.parquet``, ``train/part-0.parquet``), in any letter case; hidden files are ignored. Files that
say nothing are the training images, if no other file is. Columns are found as `evaluators.sources.table` says.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from evaluators.sources.base import Source, files_origin
from evaluators.sources.table import VALIDATION_NAMES, table_source
from search_space.base.errors import InvalidRequest

_SPLITS = ("train", *VALIDATION_NAMES, "test")


def parquet_source(name: str, path: Path) -> Source:
    """List the images in the Parquet file `path`, or in those below the folder `path`, without decoding them.

    Raises:
        InvalidRequest: a file is damaged, or as `table_source`.
    """
    import datasets

    files = [path] if path.is_file() else parquet_files(path)
    splits = _by_split(name, files, path)
    try:
        # from_parquet maps a copy into memory, in the folder of the library's own cache, rather than reading it all
        rows = {
            split: datasets.Dataset.from_parquet([str(part) for part in parts], split=datasets.NamedSplit(split))
            for split, parts in splits.items()
        }
    # the library lets through whatever pyarrow raises
    except Exception as error:
        cause = error.__cause__ or error
        reason = " ".join(f"{type(cause).__name__}: {cause}".split())[:300]
        raise InvalidRequest(
            f"data={name!r}: the Parquet files cannot be read ({reason}): repair or remove them"
        ) from error
    return table_source(
        name,
        rows,
        {split: partial(files_origin, parts, "parquet") for split, parts in splits.items()},
        remedy="call the training files train-*.parquet, or put them into train/",
    )


def parquet_files(folder: Path) -> list[Path]:
    """Return all Parquet files below `folder` in the order of their names; hidden files and folders are left out."""
    found = [
        file
        for file in folder.rglob("*")
        if is_parquet(file.name)
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    ]
    return sorted(found, key=lambda file: file.relative_to(folder).parts)


def is_parquet(file_name: str) -> bool:
    """Return whether a file of that name is to be read."""
    return not file_name.startswith(".") and file_name.lower().endswith(".parquet")


def split_of(name: str) -> str | None:
    """Return the split that the name of a file or folder begins with; None if it says none."""
    word = re.split(r"[-_.\d]", name.lower(), maxsplit=1)[0]
    return word if word in _SPLITS else None


def _by_split(name: str, files: list[Path], root: Path) -> dict[str, list[Path]]:
    splits: dict[str, list[Path]] = {}
    unnamed = []
    for file in files:
        parts = file.relative_to(root).parts if root.is_dir() else (file.name,)
        # the nearest name counts
        split = next((found for part in reversed(parts) if (found := split_of(part)) is not None), None)
        if split is None:
            unnamed.append(file)
        else:
            splits.setdefault(split, []).append(file)
    if not splits:
        return {"train": unnamed}
    if unnamed and root.is_dir():
        raise InvalidRequest(
            f"data={name!r}: the name of {unnamed[0].name} says no split, those of others do: "
            "let it begin with train, validation or test"
        )
    # a single file is the training images, whatever its name says
    return {"train": files} if root.is_file() else splits
