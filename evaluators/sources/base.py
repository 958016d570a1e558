"""What every source of images hands over: still undecoded images with their labels, by split."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, overload

import numpy as np
from PIL import Image

from search_space.base.errors import InvalidRequest

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


class Pictures(Sequence[Picture]):
    """Pictures made when asked for: a million of them as objects would take hundreds of megabytes."""

    @overload
    def __getitem__(self, index: int) -> Picture: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Picture]: ...

    def __getitem__(self, index: int | slice) -> Picture | Sequence[Picture]:
        if isinstance(index, slice):
            return [self.picture(i) for i in range(*index.indices(len(self)))]
        return self.picture(range(len(self))[index])

    def picture(self, index: int) -> Picture:
        """Return picture `index`, 0..n-1."""
        raise NotImplementedError


class ChosenPictures(Pictures):
    """The pictures of others at the given positions, or of several others one after the other."""

    def __init__(self, others: Sequence[Sequence[Picture]], positions: np.ndarray | None = None) -> None:
        self.others = others
        self.starts = np.cumsum([0, *map(len, others)])
        self.positions = np.arange(self.starts[-1]) if positions is None else np.asarray(positions, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.positions)

    def picture(self, index: int) -> Picture:
        position = int(self.positions[index])
        part = int(np.searchsorted(self.starts, position, side="right")) - 1
        return self.others[part][position - int(self.starts[part])]


@dataclass(frozen=True, eq=False)
class Listing:
    """The undecoded images of one split, in a fixed order.

    Args:
        pictures: n images.
        labels: int64, (n,), index into `Source.classes`.
        origin: returns a text that changes whenever some image may have changed, as `files_origin` does; picklable,
            for processes that load the test split themselves. None if decoding is not worth remembering.
        chosen: positions in what `origin` describes; None for all of it.
    """

    pictures: Sequence[Picture]
    labels: np.ndarray
    origin: Callable[[], str] | None = None
    chosen: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> Listing:
        """Return the images at `indices`, int64, in that order."""
        chosen = indices if self.chosen is None else self.chosen[indices]
        return Listing(ChosenPictures([self.pictures], indices), self.labels[indices], self.origin, chosen)

    def fingerprint(self) -> str | None:
        """Return a digest of which images these are, in which order; None if there is no `origin`."""
        if self.origin is None:
            return None
        digest = hashlib.sha256(self.origin().encode("utf-8", "surrogateescape"))
        if self.chosen is not None:
            digest.update(b"\0chosen\0" + np.ascontiguousarray(self.chosen, dtype="<i8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Source:
    """A data set before decoding; None for a split that it does not bring.

    Args:
        name: what the user asked for.
        classes: class names; label k means classes[k].
        train: training images.
        validation: images to choose by.
        test: images to report results on.
        channels: how many channels its images can have, as far as that is known without opening one.

    Raises:
        InvalidRequest: fewer than two classes have training images, or another split has a class that train lacks.
    """

    name: str
    classes: tuple[str, ...]
    train: Listing
    validation: Listing | None = None
    test: Listing | None = None
    channels: tuple[Literal[1, 3], ...] = (1, 3)

    def __post_init__(self) -> None:
        trained = np.unique(self.train.labels)
        if len(trained) < 2:
            found = ", ".join(repr(self.classes[label]) for label in trained) or "none"
            raise InvalidRequest(
                f"data={self.name!r}: training images of {len(trained)} class ({found}) leave nothing to tell apart: "
                "give at least 2 classes"
            )
        for split, listing in (("validation", self.validation), ("test", self.test)):
            unknown = np.setdiff1d(listing.labels, trained) if listing is not None else trained[:0]
            if len(unknown):
                raise InvalidRequest(unknown_class(self.name, split, self.classes[int(unknown[0])]))


def unknown_class(name: str, split: str, label: str) -> str:
    """Return the message for a class that a split has and train lacks."""
    return (
        f"data={name!r}: {split} has the class {label!r}, which train lacks: "
        f"add training images of it or remove it from {split}"
    )


def files_origin(paths: Iterable[str | os.PathLike[str]], note: str = "") -> str:
    """Return absolute path, size in bytes and time of change in nanoseconds of each file, behind `note`."""
    lines = [note]
    for path in paths:
        stat = os.stat(path)
        lines.append(f"{os.path.abspath(path)}\0{stat.st_size}\0{stat.st_mtime_ns}")
    return "\n".join(lines)
