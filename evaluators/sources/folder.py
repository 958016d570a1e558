"""A local folder of images, one folder per class.

Accepted layouts, with hidden files and folders ignored throughout:

* class folders directly below the folder;
* ``train/`` and, if they are there, ``val/`` (or ``valid/``, ``validation/``) and ``test/``, each above class folders;
  these names count in any letter case.

Within a class folder images are found at any depth; links to folders below it are not followed, as they may lead in a
circle. Files of other kinds are ignored. Classes and files are taken in the order of their names, so that the labels
and the splits are the same on every machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluators.sources.base import Listing, Pictures, Source, files_origin, open_image, source, unknown_class
from search_space.base.checks import refusal, require, shown

if TYPE_CHECKING:
    from PIL import Image

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")

_SPLIT_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class ImageFile:
    """One image file."""

    path: str

    @property
    def name(self) -> str:
        """Its path."""
        return self.path

    def open(self) -> Image.Image:
        """Open the file; the caller closes the image."""
        return open_image(self.path)


class ImageFiles(Pictures):
    """Image files by their paths."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def picture(self, index: int) -> ImageFile:
        """Return file ``index``."""
        return ImageFile(self.paths[index])


@source(
    "<folder>",
    f"a local folder of class folders, or of train/, val/ and test/ above class folders ({', '.join(EXTENSIONS)})",
    order=2,
)
def open_folder(name: str, path: Path | None) -> Source | None:
    """List the images below a folder (``~`` is the home folder) without opening them.

    A path that leads nowhere is refused here, as it cannot be a name on the hub.

    Raises:
        InvalidRequest: the folder is missing, a file, empty or laid out in another way; a class folder is empty; fewer
            than two classes; a class of another split is missing from train.
    """
    if path is None:
        looks_like_path = name.startswith(("/", ".", "~")) or name.count("/") > 1 or "\\" in name
        require(not looks_like_path, "data.name", name, "does not exist", "correct the path")
        return None
    require(path.is_dir(), "data.name", name, "is a file", "give the folder that holds the class folders")
    return _list_folder(name, path)


def _list_folder(name: str, root: Path) -> Source:
    folders = _visible_folders(root)
    split_folders = _split_folders(name, folders)
    if not split_folders:
        classes = _class_names(name, root, folders)
        return Source(name, classes, _list_classes(name, root, classes))
    if "train" not in split_folders:
        present = ", ".join(sorted(f"{path.name}/" for path in split_folders.values()))
        raise refusal("data.name", name, f"has {present} but no train/", "add train/, or move the class folders up")
    train = split_folders["train"]
    classes = _class_names(name, train, _visible_folders(train))
    listings = {split: _list_split(name, split, path, classes) for split, path in split_folders.items()}
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
        raise refusal("data.name", name, why, "keep either split folders or class folders at the top")
    by_split: dict[str, Path] = {}
    for path in named:
        split = _SPLIT_NAMES[path.name.lower()]
        if split in by_split:
            why = f"has both {by_split[split].name}/ and {path.name}/ for the {split} split"
            raise refusal("data.name", name, why, "keep one of them")
        by_split[split] = path
    return by_split


def _list_split(name: str, split: str, folder: Path, classes: tuple[str, ...]) -> Listing:
    present = _class_names(name, folder, _visible_folders(folder))
    for label in present:
        if label not in classes:
            raise unknown_class(name, split, label)
    return _list_classes(name, folder, present, {label: classes.index(label) for label in present})


def _class_names(name: str, folder: Path, folders: list[Path]) -> tuple[str, ...]:
    """Return the names of the class folders below ``folder``, which is the data set or one of its splits."""
    if folders:
        return tuple(path.name for path in folders)
    if any(_is_image(entry) for entry in os.listdir(folder)):
        why = f"has images in {_below(name, folder)} that are not in class folders"
        raise refusal("data.name", name, why, "make a folder for each class")
    why = f"has no class folders in {_below(name, folder)}"
    raise refusal("data.name", name, why, "put one folder per class there")


def _list_classes(name: str, folder: Path, classes: tuple[str, ...], numbers: dict[str, int] | None = None) -> Listing:
    """List the images of ``classes`` below ``folder``, labelled by ``numbers``, or in order without it."""
    paths: list[str] = []
    labels: list[int] = []
    for position, label in enumerate(classes):
        files = _image_files(folder / label)
        if not files:
            why = f"has no image ({', '.join(EXTENSIONS)}) in the class folder {_below(name, folder / label)}"
            raise refusal("data.name", name, why, "add images, or remove the folder")
        paths += files
        labels += [position if numbers is None else numbers[label]] * len(files)
    return Listing(ImageFiles(paths), np.asarray(labels, dtype=np.int64), partial(files_origin, paths))


def _below(name: str, folder: Path) -> str:
    """Return a folder of the data set ``name`` for a message."""
    return shown(str(folder.relative_to(Path(name).expanduser())))


def _image_files(folder: Path) -> list[str]:
    """Return the paths of all images below ``folder``, in the order of their names from there on."""
    # By parts, as the separator sorts differently from system to system.
    return sorted(_walk_images(folder), key=lambda path: path.split(os.sep))


def _walk_images(folder: Path) -> Iterator[str]:
    # os.walk skips folders it cannot read unless told to raise; images must not go missing in silence.
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
