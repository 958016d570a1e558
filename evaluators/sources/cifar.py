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

from evaluators.sources.base import ArrayImages, Listing, Source, files_origin, reason, source
from search_space.base.checks import refusal

_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """The files of one data set and the bytes before the pixels of each record.

    Attributes:
        title: what messages call it.
        train: file names in order.
        test: likewise.
        names: file with the class names, one per line.
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

_ARCHIVES = tuple(layout.archive for layout in LAYOUTS)

#: Folders that the archives unpack to.
UNPACKED = ("cifar-10-batches-bin", "cifar-100-binary", "cifar-10-batches-py", "cifar-100-python")

# Files of the Python version; each set is enough to tell.
_PICKLED = ({"data_batch_1", "test_batch"}, {"train", "test", "meta"})


@source(
    "<CIFAR-10 or CIFAR-100>",
    f"the binary version, as {' or '.join(_ARCHIVES)} or unpacked",
)
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


def _find_layout(name: str, files: frozenset[str]) -> Layout | None:
    """Return what the names of some files, side by side, say about CIFAR; None if nothing."""
    for layout in LAYOUTS:
        if files & set(layout.train):
            return layout
    if any(pickled <= files for pickled in _PICKLED):
        why = "is the Python version of CIFAR, whose pickles are not opened because that would run code in them"
        raise refusal("data.name", name, why, f"take the binary version ({' or '.join(_ARCHIVES)})")
    return None


def _open_folder(name: str, folder: Path) -> Source | None:
    for path in (folder, *(folder / unpacked for unpacked in UNPACKED)):
        if not path.is_dir():
            continue
        files = frozenset(entry.name for entry in os.scandir(path) if entry.is_file())
        layout = _find_layout(name, files)
        if layout is not None:
            return _source(name, layout, files, partial(_map_file, path), partial(_paths_origin, path))
    return None


def _open_archive(name: str, path: Path) -> Source:
    try:
        names, contents = _unpack(path)
    except (tarfile.TarError, zlib.error, OSError, EOFError) as error:
        raise refusal("data.name", name, f"cannot be read ({reason(error)})", "fetch the archive again") from error
    layout = _find_layout(name, names)
    if layout is None:
        why = f"is an archive, but not {' or '.join(_ARCHIVES)}"
        raise refusal("data.name", name, why, "unpack it and give the folder")
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
    again = f"unpack {layout.archive} again"
    for file in (*layout.train, layout.names):
        if file not in files:
            raise refusal("data.name", name, f"lacks {file} of {layout.title}'s binary version", again)
    lines = bytes(contents(layout.names)).decode("utf-8", "replace").split()
    if len(lines) != layout.classes:
        why = f"has {len(lines)} names for {layout.classes} classes in {layout.names}"
        raise refusal("data.name", name, why, again)
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
            why = f"has {len(content)} bytes in {file}, which is not a whole number of records of {record}"
            raise refusal("data.name", name, why, f"unpack {layout.archive} again")
        parts.append(content.reshape(-1, record))
    records = parts[0] if len(parts) == 1 else np.concatenate(parts)
    labels = records[:, layout.label_bytes - 1].astype(np.int64)
    if labels.max() >= layout.classes:
        why = f"has the label {labels.max()} for {layout.classes} classes in {', '.join(files)}"
        raise refusal("data.name", name, why, f"unpack {layout.archive} again")
    pixels = records[:, layout.label_bytes :].reshape(-1, 3, 32, 32)
    return Listing(ArrayImages(pixels, split), labels, partial(_with_split, split, origin))


def _with_split(split: str, origin: Callable[[], str]) -> str:
    return f"{split}\n{origin()}"
