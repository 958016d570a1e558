"""What a source of images is: it lists undecoded images with their labels, by split, for the names it knows.

`find` imports every module in this folder, and each registers with `source` how it opens names: a new source is one new
file. They import neither torch nor Pillow before a data set is opened, as listing the sources imports them too.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import numpy as np

from search_space.base.checks import plain, refusal, shown
from search_space.base.errors import InvalidRequest
from search_space.base.reading import check_regular

if TYPE_CHECKING:
    from PIL import Image

# Only these decoders are tried, whatever a file is called: Pillow's full list includes formats that start other
# programs (EPS starts Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

#: What splits to choose by are called, in folders and in tables.
VALIDATION_NAMES = ("validation", "valid", "val")


def unusable(name: str, why: str, remedy: str) -> InvalidRequest:
    """Return the error for a data set that cannot be used; ``name`` is what the user asked for."""
    return refusal("data.name", name, why, remedy)


def reason(error: BaseException) -> str:
    """Return what a library said when it failed, in one short line."""
    return plain(f"{type(error).__name__}: {error}", 300)


def open_image(file: str | IO[bytes]) -> Image.Image:
    """Open an image file, given by its path or its bytes; the caller closes the image. OSError for a pipe."""
    from PIL import Image

    if isinstance(file, str):
        check_regular(file)
    return Image.open(file, formats=FORMATS)


class Pictures(ABC):
    """The undecoded images of one split, by position: a million of them as objects would take hundreds of megabytes."""

    #: what the images are called together
    title: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def open(self, index: int) -> Image.Image:
        """Return image ``index`` with its header read; pixels may still be undecoded. Thread-safe."""

    def name(self, index: int) -> str:
        """Return what messages call image ``index``."""
        return f"{self.title}[{index}]"


class ChosenPictures(Pictures):
    """The pictures of others, one after the other, at the given positions (all of them if None)."""

    def __init__(self, others: Sequence[Pictures], positions: np.ndarray | None = None) -> None:
        self.others = others
        self.starts = np.cumsum([0, *map(len, others)])
        self.positions = np.arange(self.starts[-1]) if positions is None else np.asarray(positions, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.positions)

    def open(self, index: int) -> Image.Image:
        others, own = self._place(index)
        return others.open(own)

    def name(self, index: int) -> str:
        others, own = self._place(index)
        return others.name(own)

    def _place(self, index: int) -> tuple[Pictures, int]:
        position = self.positions[index]
        part = int(np.searchsorted(self.starts, position, side="right")) - 1
        return self.others[part], int(position - self.starts[part])


class ArrayImages(Pictures):
    """Images of one size whose pixels are known.

    Args:
        pixels: uint8, (n, channels, height, width), 1 or 3 channels.
        title: of the images.
    """

    def __init__(self, pixels: np.ndarray, title: str) -> None:
        self.pixels = pixels
        self.title = title

    def __len__(self) -> int:
        return len(self.pixels)

    def open(self, index: int) -> Image.Image:
        from PIL import Image

        pixels = self.pixels[index]
        return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


@dataclass(frozen=True, eq=False)
class Listing:
    """The undecoded images of one split, in a fixed order.

    Attributes:
        pictures: n images.
        labels: int64, (n,), index into `Source.classes`.
        origin: returns a text that changes whenever an image may have changed, as `files_origin` does; picklable. None
            if decoded images are not worth a cache.
        chosen: positions in what ``origin`` describes; None for all of it.
    """

    pictures: Pictures
    labels: np.ndarray
    origin: Callable[[], str] | None = None
    chosen: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> Listing:
        """Return the images at ``indices``, int64, in that order."""
        chosen = indices if self.chosen is None else self.chosen[indices]
        return Listing(ChosenPictures([self.pictures], indices), self.labels[indices], self.origin, chosen)

    def fingerprint(self) -> str | None:
        """Return a digest of which images these are, in which order; None without an ``origin``."""
        if self.origin is None:
            return None
        digest = hashlib.sha256(self.origin().encode("utf-8", "surrogateescape"))
        if self.chosen is not None:
            digest.update(b"\0chosen\0" + np.ascontiguousarray(self.chosen, dtype="<i8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Source:
    """A data set before decoding; None for a split that it does not bring.

    Attributes:
        name: what the user asked for.
        classes: class names; label k means classes[k].
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
            present = ", ".join(shown(self.classes[label]) for label in trained) or "none"
            why = f"has training images of {len(trained)} class ({present}), which leaves nothing to tell apart"
            raise unusable(self.name, why, "give at least 2 classes")
        for split, listing in (("validation", self.validation), ("test", self.test)):
            unknown = np.setdiff1d(listing.labels, trained) if listing is not None else trained[:0]
            if len(unknown):
                raise unknown_class(self.name, split, self.classes[int(unknown[0])])


def unknown_class(name: str, split: str, label: str) -> InvalidRequest:
    """Return the error for a class that a split has and train lacks."""
    remedy = f"add training images of it, or remove it from {split}"
    return unusable(name, f"has the class {shown(label)} in {split}, which train lacks", remedy)


def files_origin(paths: Iterable[str | os.PathLike[str]], note: str = "") -> str:
    """Return ``note``, then the absolute path, size in bytes and time of change in nanoseconds of each file."""
    lines = [note]
    for path in paths:
        stat = os.stat(path)
        lines.append(f"{os.path.abspath(path)}\0{stat.st_size}\0{stat.st_mtime_ns}")
    return "\n".join(lines)


#: Returns the data set of a name and of the path where something of that name lies (None if nothing does); None if the
#: name means something else.
Opener = Callable[[str, Path | None], Source | None]


@dataclass(frozen=True)
class SourceKind:
    """One kind of data set.

    Attributes:
        form: how its name is written, such as ``digits`` or ``<folder>``.
        summary: what it is, in one line for `sepnas list datasets`.
        order: kinds with a lower number are asked first; 0 for names that are not paths.
    """

    form: str
    summary: str
    open: Opener
    order: int


#: All kinds, as their modules have registered them.
KINDS: list[SourceKind] = []


def source(form: str, summary: str, *, order: int = 1) -> Callable[[Opener], Opener]:
    """Register a function as `SourceKind.open`; the arguments are the other attributes of `SourceKind`."""

    def register(function: Opener) -> Opener:
        KINDS.append(SourceKind(form, summary, function, order))
        return function

    return register
