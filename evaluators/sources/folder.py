"""A local folder of images, one folder per class.

Either the class folders lie directly in it, or ``train/`` and, if they are there, ``val/`` (or ``valid/``,
``validation/``) and ``test/``, in any letter case, lie above class folders. Images may lie at any depth of a class
folder; links to folders are not followed, as they may lead in a circle. Hidden files and folders and files of other
kinds are ignored. Classes and files are taken in the order of their names, so that the labels and the splits are the
same on every machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluators.sources.base import (
    VALIDATION_NAMES,
    Listing,
    Pictures,
    Source,
    files_origin,
    open_image,
    source,
    unknown_class,
    unusable,
)
from search_space.base.checks import require, shown

if TYPE_CHECKING:
    from PIL import Image

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")

_SPLIT_NAMES = {"train": "train", **dict.fromkeys(VALIDATION_NAMES, "validation"), "test": "test"}


class ImageFiles(Pictures):
    """Image files by their paths."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def open(self, index: int) -> Image.Image:
        return open_image(self.paths[index])

    def name(self, index: int) -> str:
        return self.paths[index]


@source(
    "<folder>",
    f"a local folder of class folders, or of train/, val/ and test/ above class folders ({', '.join(EXTENSIONS)})",
    order=2,
)
def open_folder(name: str, path: Path | None) -> Source | None:
    """List the images below a folder (``~`` is the home folder) without opening them.

    Raises:
        InvalidRequest: it leads nowhere and cannot be a name on the hub, is a file or laid out in another way, or a
            class folder is empty.
    """
    if path is None:
        looks_like_path = name.startswith(("/", ".", "~")) or name.count("/") > 1 or "\\" in name
        require(not looks_like_path, "data.name", name, "does not exist", "correct the path")
        return None
    require(path.is_dir(), "data.name", name, "is a file", "give the folder that holds the class folders")
    return _list_folder(name, path)


def _list_folder(name: str, root: Path) -> Source:
    splits = _split_folders(name, _visible_folders(root)) or {"train": root}
    if "train" not in splits:
        present = ", ".join(sorted(f"{path.name}/" for path in splits.values()))
        raise unusable(name, f"has {present} but no train/", "add train/, or move the class folders up")
    classes = _class_names(name, splits["train"])
    listings = {split: _list_split(name, split, path, classes) for split, path in splits.items()}
    return Source(name, classes, listings["train"], listings.get("validation"), listings.get("test"))


def _split_folders(name: str, folders: list[Path]) -> dict[str, Path]:
    """Return the split folders among ``folders`` by the split they stand for; empty if these are class folders."""
    named = [path for path in folders if path.name.lower() in _SPLIT_NAMES]
    if not named:
        return {}
    others = [path for path in folders if path not in named and any(_walk_images(path))]
    if others:
        # "train" is also a fine name for a class, next to "bus": then its images lie directly in it.
        if not any(_visible_folders(path) for path in named):
            return {}
        why = f"has the split folder {shown(named[0].name)} beside the class folder {shown(others[0].name)}"
        raise unusable(name, why, "keep either split folders or class folders at the top")
    by_split: dict[str, Path] = {}
    for path in named:
        split = _SPLIT_NAMES[path.name.lower()]
        if split in by_split:
            why = f"has both {by_split[split].name}/ and {path.name}/ for the {split} split"
            raise unusable(name, why, "keep one of them")
        by_split[split] = path
    return by_split


def _class_names(name: str, folder: Path) -> tuple[str, ...]:
    """Return the names of the class folders below ``folder``, which is the data set or one of its splits."""
    folders = _visible_folders(folder)
    if folders:
        return tuple(path.name for path in folders)
    if any(_is_image(entry) for entry in os.listdir(folder)):
        why = f"has images in {_below(name, folder)} that are not in class folders"
        raise unusable(name, why, "make a folder for each class")
    raise unusable(name, f"has no class folders in {_below(name, folder)}", "put one folder per class there")


def _list_split(name: str, split: str, folder: Path, classes: tuple[str, ...]) -> Listing:
    paths: list[str] = []
    labels: list[int] = []
    for label in _class_names(name, folder):
        if label not in classes:
            raise unknown_class(name, split, label)
        # by parts, as the separator sorts differently from system to system
        files = sorted(_walk_images(folder / label), key=lambda path: path.split(os.sep))
        if not files:
            why = f"has no image ({', '.join(EXTENSIONS)}) in the class folder {_below(name, folder / label)}"
            raise unusable(name, why, "add images, or remove the folder")
        paths += files
        labels += [classes.index(label)] * len(files)
    return Listing(ImageFiles(paths), np.asarray(labels, dtype=np.int64), partial(files_origin, paths))


def _below(name: str, folder: Path) -> str:
    """Return a folder of the data set ``name`` for a message."""
    return shown(str(folder.relative_to(Path(name).expanduser())))


def _walk_images(folder: Path) -> Iterator[str]:
    # without `onerror`, os.walk skips folders it cannot read: images must not go missing in silence
    for parent, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = [entry for entry in folders if not entry.startswith(".")]
        yield from (os.path.join(parent, entry) for entry in files if _is_image(entry))


def _raise(error: OSError) -> None:
    raise error


def _visible_folders(folder: Path) -> list[Path]:
    folders = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return sorted(folders, key=lambda path: path.name)


def _is_image(file_name: str) -> bool:
    return not file_name.startswith(".") and file_name.lower().endswith(EXTENSIONS)
