"""The original CIFAR-10 and CIFAR-100 in their binary version, as an archive or unpacked.

A record is one byte of label (CIFAR-100: coarse, then fine) and 3072 bytes of pixels, red plane first, row by row. The
labels of CIFAR-100 are the fine ones. See https://www.cs.toronto.edu/~kriz/cifar.html.

The Python version of these data is pickled. Unpickling runs whatever code a file contains, so it is refused.
"""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from evaluators.sources.base import ArrayImages, Listing, Source, files_origin, reason, source, unusable

_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """The files of one data set, and the archive that holds them.

    Attributes:
        names: the file with the class names, one per line.
        label_bytes: bytes before the pixels of a record; the last of them is the label.
    """

    title: str
    train: tuple[str, ...]
    test: str
    names: str
    classes: int
    label_bytes: int
    archive: str

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, self.test, self.names)


LAYOUTS = (
    Layout(
        title="CIFAR-10",
        train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        test="test_batch.bin",
        names="batches.meta.txt",
        classes=10,
        label_bytes=1,
        archive="cifar-10-binary.tar.gz",
    ),
    Layout(
        title="CIFAR-100",
        train=("train.bin",),
        test="test.bin",
        names="fine_label_names.txt",
        classes=100,
        label_bytes=2,
        archive="cifar-100-binary.tar.gz",
    ),
)

_ARCHIVES = " or ".join(layout.archive for layout in LAYOUTS)

#: Folders that the archives unpack to.
UNPACKED = ("cifar-10-batches-bin", "cifar-100-binary", "cifar-10-batches-py", "cifar-100-python")

# Bytes of an archive's files; those of CIFAR's have less than 200 MiB.
_LARGEST = 2**30

# Files of the Python version; each set is enough to recognise it.
_PICKLED = ({"data_batch_1", "test_batch"}, {"train", "test", "meta"})


@source("<CIFAR-10 or CIFAR-100>", f"the binary version, as {_ARCHIVES} or unpacked")
def open_cifar(name: str, path: Path | None) -> Source | None:
    """List the images of an archive or of a folder, given the unpacked one or the one above it.

    Raises:
        InvalidRequest: it is damaged or the Python version, or an archive of something else.
    """
    if path is None:
        return None
    if path.is_dir():
        return _open_folder(name, path)
    return _open_archive(name, path) if tarfile.is_tarfile(path) else None


def _find_layout(name: str, files: Set[str]) -> Layout | None:
    """Return the layout that some files side by side, given by their names, belong to; None if they are not CIFAR's."""
    for layout in LAYOUTS:
        if files & set(layout.train):
            return layout
    if any(pickled <= files for pickled in _PICKLED):
        why = "is the Python version of CIFAR, whose pickles are not opened because that would run code in them"
        raise unusable(name, why, f"use the binary version ({_ARCHIVES})")
    return None


def _open_folder(name: str, folder: Path) -> Source | None:
    for path in (folder, *(folder / unpacked for unpacked in UNPACKED)):
        files = {entry.name for entry in os.scandir(path) if entry.is_file()} if path.is_dir() else set()
        layout = _find_layout(name, files)
        if layout is not None:
            contents = {file: np.fromfile(path / file, dtype=np.uint8) for file in layout.files if file in files}
            return _source(name, layout, contents, path)
    return None


def _open_archive(name: str, path: Path) -> Source:
    known = {file for layout in LAYOUTS for file in layout.files}
    files, contents, unpacked = set(), {}, 0
    try:
        # as a stream, unpacked once: to go back in a packed archive is to unpack it again from its start
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                file = PurePosixPath(member.name).name
                unpacked += member.size
                if unpacked > _LARGEST:
                    raise tarfile.TarError(f"it unpacks to more than {_LARGEST >> 20} MiB")
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None:
                    files.add(file)
                    if file in known:
                        contents[file] = np.frombuffer(stream.read(), dtype=np.uint8)
    except (tarfile.TarError, zlib.error, OSError, EOFError) as error:
        raise unusable(name, f"cannot be read ({reason(error)})", "fetch the archive again") from error
    layout = _find_layout(name, files)
    if layout is None:
        raise unusable(name, f"is an archive, but not {_ARCHIVES}", "unpack it and give the folder")
    return _source(name, layout, contents, path)


def _source(name: str, layout: Layout, contents: dict[str, np.ndarray], path: Path) -> Source:
    """Return the data set whose files hold ``contents``, uint8 (n,), and lie in the folder or archive ``path``."""
    again = f"unpack {layout.archive} again"
    for file in (*layout.train, layout.names):
        if file not in contents:
            raise unusable(name, f"lacks {file} of {layout.title}'s binary version", again)
    classes = tuple(contents[layout.names].tobytes().decode("utf-8", "replace").split())
    if len(classes) != layout.classes:
        raise unusable(name, f"has {len(classes)} names for {layout.classes} classes in {layout.names}", again)

    def listing(split: str, files: tuple[str, ...]) -> Listing:
        record = layout.label_bytes + _PIXELS
        for file in files:
            size = len(contents[file])
            if size == 0 or size % record:
                why = f"has {size} bytes in {file}, which is not a whole number of records of {record}"
                raise unusable(name, why, again)
        records = np.concatenate([contents[file] for file in files]).reshape(-1, record)
        labels = records[:, layout.label_bytes - 1].astype(np.int64)
        if labels.max() >= layout.classes:
            why = f"has the label {labels.max()} for {layout.classes} classes in {', '.join(files)}"
            raise unusable(name, why, again)
        pixels = records[:, layout.label_bytes :].reshape(-1, 3, 32, 32)
        paths = [path / file for file in files] if path.is_dir() else [path]
        return Listing(ArrayImages(pixels, split), labels, partial(files_origin, paths, f"cifar {split}"))

    test = listing("test", (layout.test,)) if layout.test in contents else None
    return Source(name, classes, listing("train", layout.train), test=test, channels=(3,))
