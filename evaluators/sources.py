"""What every source of images hands over: still undecoded images with their labels, by split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from search_space.errors import InvalidRequest

# Only these decoders are tried, whatever a file is called: Pillow's full list includes formats that start other
# programs (EPS starts Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")


class Picture(Protocol):
    """One image that has not been decoded yet."""

    def open(self) -> Image.Image:
        """Return the image with its header read; pixels may still be undecoded. Thread-safe."""
        ...

    @property
    def name(self) -> str:
        """What messages call it."""
        ...


@dataclass(frozen=True, eq=False)
class Listing:
    """The undecoded images of one split, in a fixed order.

    Args:
        pictures: n images.
        labels: int64, (n,), index into `Source.classes`.
    """

    pictures: Sequence[Picture]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> Listing:
        """Return the images at `indices`, int64, in that order."""
        return Listing([self.pictures[i] for i in indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class Source:
    """A data set before decoding; None for a split that it does not bring.

    Raises:
        InvalidRequest: fewer than two classes have training images, or another split has a class that train lacks.
    """

    name: str
    classes: tuple[str, ...]
    train: Listing
    validation: Listing | None = None
    test: Listing | None = None

    def __post_init__(self) -> None:
        trained = np.unique(self.train.labels)
        if len(trained) < 2:
            found = ", ".join(repr(self.classes[label]) for label in trained) or "none"
            raise InvalidRequest(
                f"data={self.name!r}: training images of {len(trained)} class ({found}) leave nothing to tell apart: "
                "give at least 2 classes"
            )
        for field, listing in (("validation", self.validation), ("test", self.test)):
            unknown = np.setdiff1d(listing.labels, trained) if listing is not None else trained[:0]
            if len(unknown):
                raise InvalidRequest(unknown_class(self.name, field, self.classes[int(unknown[0])]))


def unknown_class(name: str, split: str, label: str) -> str:
    """Return the message for a class that a split has and train lacks."""
    return (
        f"data={name!r}: {split} has the class {label!r}, which train lacks: "
        f"add training images of it or remove it from {split}"
    )
