"""Image classification tables: splits of rows with an image and a label, as the `datasets` library holds them.

The image column is the first of type Image, or else the first that holds encoded images: bytes, or structures of bytes
and path. The label column is the ClassLabel called ``label``, else ``fine_label``, else the first one; without a
ClassLabel, a column of that name with whole numbers from 0 or texts. Splits called ``train``, ``validation`` (or
``valid``, ``val``) and ``test`` are used. A test split without labels (all -1, as hubs keep it for competitions) counts
as missing. Where only a validation split comes beside train, as with ImageNet, it serves as the test, the way results
on such data are reported, and validation is split off train.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluators.sources.base import (
    VALIDATION_NAMES,
    ChosenPictures,
    Listing,
    Pictures,
    Source,
    open_image,
    unknown_class,
    unusable,
)
from search_space.base.checks import require, shown

if TYPE_CHECKING:
    from PIL import Image

_LABEL_NAMES = ("label", "fine_label")


class TableImages(Pictures):
    """The images of one split.

    Args:
        rows: a `datasets.Dataset` with the image column alone, not decoded.
        column: name of that column.
        title: of the images.
    """

    def __init__(self, rows: Any, column: str, title: str) -> None:
        self.rows = rows
        self.column = column
        self.title = title

    def __len__(self) -> int:
        return len(self.rows)

    def open(self, index: int) -> Image.Image:
        cell = self.rows[index][self.column]
        if cell is None:
            raise ValueError("the cell is empty")
        if isinstance(cell, bytes):
            return open_image(io.BytesIO(cell))
        return open_image(cell["path"] if cell["bytes"] is None else io.BytesIO(cell["bytes"]))


def table_source(
    name: str,
    splits: Mapping[str, Any],
    origins: Mapping[str, Callable[[], str]],
    *,
    remedy: str,
    extra: Sequence[str] = (),
) -> Source:
    """List the images of ``splits``, each a `datasets.Dataset`, without decoding them.

    Args:
        name: what the user asked for.
        splits: by name.
        origins: `Listing.origin` of each split.
        remedy: what to do if there is no train split.
        extra: splits that join train, if they are there and have labels.

    Raises:
        InvalidRequest: there is no image or label column, no train split, or unlabelled training images.
    """
    if "train" not in splits:
        raise unusable(name, f"has the splits {', '.join(splits)} but no train", remedy)
    features = splits["train"].features
    image, label = _image_column(name, features), _label_column(name, features)
    classes = _classes(name, splits["train"], label)
    listings = {
        split: _listing(name, split, rows, image, label, classes, origins[split])
        for split, rows in splits.items()
        if split in ("train", "test", *VALIDATION_NAMES, *extra)
    }
    train = listings["train"]
    validation = next((listings[split] for split in VALIDATION_NAMES if listings.get(split) is not None), None)
    test = listings.get("test")
    if train is None:
        raise unusable(name, f"has no labels in column {shown(label)} of train", "choose another data set")
    if test is None:
        test, validation = validation, None
    parts = [train, *(listing for split in extra if (listing := listings.get(split)) is not None)]
    return Source(name, classes, _joined(parts) if len(parts) > 1 else train, validation, test)


def _joined(listings: Sequence[Listing]) -> Listing:
    """Return the images of all, one split after the other."""
    return Listing(
        ChosenPictures([listing.pictures for listing in listings]),
        np.concatenate([listing.labels for listing in listings]),
        partial(_joined_origin, [listing.origin for listing in listings if listing.origin is not None]),
    )


def _joined_origin(origins: Sequence[Callable[[], str]]) -> str:
    return "\0joined\0".join(origin() for origin in origins)


def _image_column(name: str, features: Any) -> str:
    import datasets

    images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    images += [column for column, feature in features.items() if _holds_bytes(feature)]
    why = f"has no Image column, only {_columns(features)}"
    require(bool(images), "data.name", name, why, "give an image classification data set")
    return images[0]


def _holds_bytes(feature: Any) -> bool:
    if isinstance(feature, dict):
        return {"bytes", "path"} <= set(feature)
    return getattr(feature, "dtype", None) in ("binary", "large_binary")


def _label_column(name: str, features: Any) -> str:
    import datasets

    labels = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    if labels:
        return next((column for column in _LABEL_NAMES if column in labels), labels[0])
    for column in _LABEL_NAMES:
        dtype = str(getattr(features.get(column), "dtype", ""))
        if dtype.startswith(("int", "uint", "string", "large_string")):
            return column
    why = f"has no ClassLabel column, nor one called label with whole numbers or texts, only {_columns(features)}"
    raise unusable(name, why, "give an image classification data set")


def _columns(features: Any) -> str:
    return ", ".join(f"{column} ({type(feature).__name__})" for column, feature in features.items())


def _classes(name: str, train: Any, label: str) -> tuple[str, ...]:
    """Return the class names: those of the ClassLabel, else the texts that occur, else 0..k-1."""
    feature = train.features[label]
    if hasattr(feature, "names"):
        return tuple(feature.names)
    values = set(_cells(train, label)) - {None}
    if all(isinstance(value, str) for value in values):
        return tuple(sorted(values))
    highest = max(values)
    if highest >= len(train):
        why = f"has values up to {highest} in column {shown(label)}, but fewer images"
        raise unusable(name, why, "give classes 0..k-1")
    return tuple(map(str, range(highest + 1)))


def _cells(rows: Any, column: str) -> list[Any]:
    return list(rows.select_columns(column)[:][column])


def _listing(
    name: str, split: str, rows: Any, image: str, label: str, classes: tuple[str, ...], origin: Callable[[], str]
) -> Listing | None:
    """List the rows of one split; None if it is empty or none of its rows has a label."""
    import datasets

    # A test split made for a competition may leave the column out altogether.
    cells = _cells(rows, label) if label in rows.features and len(rows) else []
    labels = np.asarray([_number(name, split, cell, classes) for cell in cells], dtype=np.int64)
    unlabelled = int((labels < 0).sum())
    if unlabelled == len(labels):
        return None
    if unlabelled:
        why = f"has {unlabelled} of {len(labels)} images of {split} without a label in column {shown(label)}"
        raise unusable(name, why, "remove them, or choose another data set")
    images = rows.select_columns(image)
    if isinstance(images.features[image], datasets.Image):
        images = images.cast_column(image, datasets.Image(decode=False))
    return Listing(TableImages(images, image, split), labels, origin)


def _number(name: str, split: str, cell: Any, classes: tuple[str, ...]) -> int:
    """Return the label as a number; -1 if there is none."""
    if cell is None:
        return -1
    if isinstance(cell, str):
        if cell not in classes:
            raise unknown_class(name, split, cell)
        return classes.index(cell)
    if cell >= len(classes):
        raise unusable(name, f"has the label {cell} in {split} for {len(classes)} classes", "correct it")
    return int(cell)
