"""The original CIFAR-10 and CIFAR-100 in their binary version, as an archive or unpacked.

A record is one byte of label (CIFAR-100: coarse, then fine) and 3072 bytes of pixels, red plane first, row by row. The
labels of CIFAR-100 are the fine ones. See https://www.cs.toronto.edu/~kriz/cifar.html.

The Python version of these data is pickled. Unpickling runs whatever code a file contains, so it is refused.
"""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from evaluators.sources.arrays import ArrayImages
from evaluators.sources.base import Listing, Source, files_origin
from search_space.base.errors import InvalidRequest

_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """The files of one data set and the bytes before the pixels of each record.

    Args:
        title: what messages call it.
        train: file names in order.
        test: likewise.
        names: file with the class names, one a line.
        classes: how many there are.
        label_bytes: per record; the last of them is the label.
        archive: where it comes from.
    """

    title: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str
    classes: int
    label_bytes: int
    archive: str


LAYOUTS = (
    Layout(
        title="CIFAR-10",
        train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        test=("test_batch.bin",),
        names="batches.meta.txt",
        classes=10,
        label_bytes=1,
        archive="cifar-10-binary.tar.gz",
    ),
    Layout(
        title="CIFAR-100",
        train=("train.bin",),
        test=("test.bin",),
        names="fine_label_names.txt",
        classes=100,
        label_bytes=2,
        archive="cifar-100-binary.tar.gz",
    ),
)

#: Folders that the archives unpack to.
UNPACKED = ("cifar-10-batches-bin", "cifar-100-binary", "cifar-10-batches-py", "cifar-100-python")

# Files of the Python version; each set is enough to tell.
_PICKLED = ({"data_batch_1", "test_batch"}, {"train", "test", "meta"})


def cifar_layout(name: str, files: frozenset[str]) -> Layout | None:
    """Return what the names of some files, side by side, say about CIFAR; None if nothing.

    Raises:
        InvalidRequest: they are the Python version.
    """
    for layout in LAYOUTS:
        if files & set(layout.train):
            return layout
    if any(pickled <= files for pickled in _PICKLED):
        raise InvalidRequest(
            f"data={name!r} is the Python version of CIFAR, pickles, which are not opened because that would run code "
            "in them: take the binary version (cifar-10-binary.tar.gz or cifar-100-binary.tar.gz)"
        )
    return None


def cifar_folder(name: str, folder: Path) -> Source | None:
    """Return the data set in an unpacked folder or the one above it; None if there is none."""
    for path in (folder, *(folder / unpacked for unpacked in UNPACKED)):
        if not path.is_dir():
            continue
        files = frozenset(entry.name for entry in os.scandir(path) if entry.is_file())
        layout = cifar_layout(name, files)
        if layout is not None:
            return _source(name, layout, files, partial(_map_file, path), partial(_paths_origin, path))
    return None


def cifar_archive(name: str, path: Path) -> Source:
    """Read a tar archive, packed or not.

    Raises:
        InvalidRequest: it is damaged, holds something else, or the Python version.
    """
    try:
        names, contents = _unpack(path)
    except (tarfile.TarError, zlib.error, OSError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise InvalidRequest(f"data={name!r} cannot be read ({reason}): fetch the archive again") from error
    layout = cifar_layout(name, names)
    if layout is None:
        raise InvalidRequest(
            f"data={name!r} is an archive, but not {' or '.join(layout.archive for layout in LAYOUTS)}: "
            "unpack it and give the folder"
        )
    return _source(
        name, layout, frozenset(contents), contents.__getitem__, lambda _: partial(files_origin, [path], "cifar")
    )


def _unpack(path: Path) -> tuple[frozenset[str], dict[str, np.ndarray]]:
    """Return the names of all files in an archive, and the bytes, uint8 (n,), of those that a layout knows."""
    known = {file for layout in LAYOUTS for file in (*layout.train, *layout.test, layout.names)}
    names, contents = set(), {}
    # as a stream, unpacked once: to go back in a packed archive is to unpack it again from its start
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            if not member.isfile():
                continue
            file = PurePosixPath(member.name).name
            names.add(file)
            if file in known:
                stream = archive.extractfile(member)
                contents[file] = np.frombuffer(stream.read() if stream is not None else b"", dtype=np.uint8)
    return frozenset(names), contents


def _map_file(folder: Path, file: str) -> np.ndarray:
    path = folder / file
    # an empty file cannot be mapped
    return np.memmap(path, dtype=np.uint8, mode="r") if path.stat().st_size else np.zeros(0, dtype=np.uint8)


def _paths_origin(folder: Path, files: tuple[str, ...]) -> Callable[[], str]:
    return partial(files_origin, [folder / file for file in files], "cifar")


def _source(
    name: str,
    layout: Layout,
    files: frozenset[str],
    contents: Callable[[str], np.ndarray],
    origin: Callable[[tuple[str, ...]], Callable[[], str]],
) -> Source:
    for file in (*layout.train, layout.names):
        if file not in files:
            raise InvalidRequest(
                f"data={name!r} lacks {file} of {layout.title}'s binary version: unpack {layout.archive} again"
            )
    lines = bytes(contents(layout.names)).decode("utf-8", "replace").split()
    if len(lines) != layout.classes:
        raise InvalidRequest(
            f"data={name!r}: {layout.names} has {len(lines)} names for {layout.classes} classes: "
            f"unpack {layout.archive} again"
        )
    train = _listing(name, layout, "train", layout.train, contents, origin(layout.train))
    if not files >= set(layout.test):
        return Source(name, tuple(lines), train, channels=(3,))
    test = _listing(name, layout, "test", layout.test, contents, origin(layout.test))
    return Source(name, tuple(lines), train, test=test, channels=(3,))


def _listing(
    name: str,
    layout: Layout,
    split: str,
    files: tuple[str, ...],
    contents: Callable[[str], np.ndarray],
    origin: Callable[[], str],
) -> Listing:
    record = layout.label_bytes + _PIXELS
    parts = []
    for file in files:
        content = contents(file)
        if len(content) == 0 or len(content) % record:
            raise InvalidRequest(
                f"data={name!r}: {file} has {len(content)} bytes, which are no whole number of records of {record}: "
                f"unpack {layout.archive} again"
            )
        parts.append(content.reshape(-1, record))
    records = parts[0] if len(parts) == 1 else np.concatenate(parts)
    labels = records[:, layout.label_bytes - 1].astype(np.int64)
    if labels.max() >= layout.classes:
        raise InvalidRequest(
            f"data={name!r}: {', '.join(files)}: label {labels.max()} for {layout.classes} classes: "
            f"unpack {layout.archive} again"
        )
    pixels = records[:, layout.label_bytes :].reshape(-1, 3, 32, 32)
    return Listing(ArrayImages(pixels, split), labels, partial(_with_split, split, origin))


def _with_split(split: str, origin: Callable[[], str]) -> str:
    return f"{split}\n{origin()}"
