"""Image classification data sets of the Hugging Face hub, through the `datasets` library.

The image column is the first of type Image. The label column is the ClassLabel called ``label``, else ``fine_label``,
else the first one. Splits called ``train``, ``validation`` (or ``valid``, ``val``) and ``test`` are used. A test split
without labels (all -1, as hubs keep it for competitions) counts as missing. Where only a validation split comes beside
train, as with ImageNet, it serves as the test, the way results on such data are reported, and validation is split off
train. No code from a repository is ever run.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from evaluators.sources import FORMATS, Listing, Source
from search_space.errors import InvalidRequest

PREFIX = "hf:"

_VALIDATION_NAMES = ("validation", "valid", "val")
_LABEL_NAMES = ("label", "fine_label")

# Packages whose errors mean that the network, not the request, is at fault; which of them is used differs between
# versions of huggingface_hub, so they are known by name.
_NETWORK_PACKAGES = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")


@dataclass(frozen=True, eq=False)
class HubImage:
    """One row of a split.

    Args:
        rows: the split with the image column alone, not decoded.
        column: name of that column.
        index: the row.
        name: what messages call it.
    """

    rows: Any
    column: str
    index: int
    name: str

    def open(self) -> Image.Image:
        """Open the bytes kept in the row, or else the file it points to."""
        cell = self.rows[self.index][self.column]
        if cell is None:
            raise ValueError("the cell is empty")
        if cell["bytes"] is not None:
            return Image.open(io.BytesIO(cell["bytes"]), formats=FORMATS)
        return Image.open(cell["path"], formats=FORMATS)


def hub_source(name: str) -> Source:
    """Load ``owner/name`` or ``hf:name[:config]`` and list its images without decoding them.

    Raises:
        InvalidRequest: the hub cannot be reached, has no such data set or configuration, or the data set has no image
            or label column, no train split, or unlabelled training images.
    """
    splits = _load(name)
    if "train" not in splits:
        raise InvalidRequest(
            f"data={name!r} has the splits {', '.join(splits)} but no train: choose another configuration "
            f"({PREFIX}name:config) or data set"
        )
    features = splits["train"].features
    image, label = _columns(name, features)
    listings = {split: _listing(name, split, rows, image, label) for split, rows in splits.items() if _used(split)}
    train = listings["train"]
    validation = next((listings[split] for split in _VALIDATION_NAMES if listings.get(split) is not None), None)
    test = listings.get("test")
    if train is None:
        raise InvalidRequest(f"data={name!r}: train has no labels in column {label!r}: choose another data set")
    if test is None:
        test, validation = validation, None
    return Source(name, tuple(features[label].names), train, validation, test)


def _load(name: str) -> Any:
    """Return the splits of `name` by their name, as `datasets.load_dataset` does."""
    import datasets

    repository, config = _parse(name)
    try:
        return datasets.load_dataset(repository, config)
    # Besides its own errors, load_dataset lets through those of the network and of every file reader.
    except Exception as error:
        if _is_network_error(error):
            no_folder = "" if name.startswith(PREFIX) else "there is no such local folder, and "
            raise InvalidRequest(
                f"data={name!r}: {no_folder}the Hugging Face hub cannot be reached: check the network, "
                "or give a local folder of class folders instead"
            ) from error
        if isinstance(error, datasets.exceptions.DatasetNotFoundError):
            raise InvalidRequest(
                f"data={name!r} is neither a local folder nor a public data set of the Hugging Face hub: "
                "correct the name, or log in with `hf auth login` if it is restricted"
            ) from error
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InvalidRequest(
            f"data={name!r}: the data set cannot be loaded ({reason}): "
            f"give another one, or its configuration as {PREFIX}name:config"
        ) from error


def _parse(name: str) -> tuple[str, str | None]:
    """Split ``hf:name[:config]`` or ``owner/name`` into repository (or local path) and configuration."""
    rest = name.removeprefix(PREFIX)
    repository, colon, config = rest.rpartition(":")
    # A local path may contain a colon of its own.
    if not colon or Path(rest).expanduser().exists():
        repository, config = rest, ""
    if not repository or (colon and not config and repository != rest):
        raise InvalidRequest(
            f"data={name!r} lacks a name or a configuration: write {PREFIX}name or {PREFIX}name:config"
        )
    local = Path(repository).expanduser()
    return (str(local) if local.exists() else repository), config or None


def _is_network_error(error: BaseException | None) -> bool:
    """Return whether `error` or one of those that led to it came from the network."""
    while error is not None:
        if isinstance(error, (ConnectionError, TimeoutError)):
            return True
        # An answer such as "404 not found" means that the network works.
        if type(error).__module__.split(".")[0] in _NETWORK_PACKAGES and getattr(error, "response", None) is None:
            return True
        error = error.__cause__ or error.__context__
    return False


def _columns(name: str, features: Any) -> tuple[str, str]:
    """Return the names of the image column and of the label column."""
    import datasets

    images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    labels = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    found = ", ".join(f"{column} ({type(feature).__name__})" for column, feature in features.items())
    if not images:
        raise InvalidRequest(f"data={name!r} has no Image column, only {found}: give an image classification data set")
    if not labels:
        raise InvalidRequest(
            f"data={name!r} has no ClassLabel column, only {found}: give an image classification data set"
        )
    return images[0], next((column for column in _LABEL_NAMES if column in labels), labels[0])


def _used(split: str) -> bool:
    return split in ("train", "test", *_VALIDATION_NAMES)


def _listing(name: str, split: str, rows: Any, image: str, label: str) -> Listing | None:
    """List the rows of one split; None if it is empty or none of its rows has a label."""
    import datasets

    # A test split made for a competition may leave the column out altogether.
    cells = rows[label] if label in rows.features else []
    labels = np.asarray([-1 if cell is None else cell for cell in cells], dtype=np.int64)
    unlabelled = int((labels < 0).sum())
    if unlabelled == len(labels):
        return None
    if unlabelled:
        raise InvalidRequest(
            f"data={name!r}: {unlabelled} of {len(labels)} images of {split} have no label in column {label!r}: "
            "remove them or choose another data set"
        )
    images = rows.select_columns(image).cast_column(image, datasets.Image(decode=False))
    pictures = [HubImage(images, image, index, f"{split}[{index}]") for index in range(len(labels))]
    return Listing(pictures, labels)
