"""Decoded pixels on disk, so that images of a data set are decoded once and not by every run.

One safetensors file holds the pixels of one split, uint8, and a SHA-256 of them. Its name is a digest of all that
decides the pixels: which images (`Listing.fingerprint`: files with their sizes and times of change), size, channels,
and the version of the decoder. So nothing is ever out of date, only unused; the whole folder can be removed at any
time.

When several processes want the same images at the same time, such as those that train together, one decodes them and
the others wait for its file. It holds a lock, which the system lifts when the process ends, however it ends. Where the
file system knows no locks, each process decodes for itself, writes its own file and renames it; all of them write the
same.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import PIL
import torch
from filelock import BaseFileLock, FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from evaluators.data.decode import DECODER_VERSION, Failure, decode
from evaluators.sources.base import Listing
from search_space.base.atomic import is_old, is_temporary, replacing

_log = logging.getLogger(__name__)

#: Environment variable with the folder of the cache.
VARIABLE = "SEPNAS_CACHE"

# Ends the names of files that say by their lock who is making the file beside them.
_LOCK = ".sepnas-lock"


def cache_folder() -> Path:
    """Return ``$SEPNAS_CACHE``, else ``$XDG_CACHE_HOME/sepnas``, else ``~/.cache/sepnas``; it may not exist."""
    folder = os.environ.get(VARIABLE)
    if folder:
        return Path(folder).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "sepnas"


def decode_cached(
    listings: Sequence[Listing], image_size: int, channels: int
) -> tuple[list[torch.Tensor], list[Failure]]:
    """Return what `evaluators.data.decode.decode` does, as tensors, from the cache where it has them.

    A damaged file is made again, with a warning in the log. Where the cache cannot be written, a warning is all.
    """
    files = [_file(listing, image_size, channels) for listing in listings]
    before = [_version(file) for file in files]
    entries = [
        None if file is None else _load(file, len(listing)) for file, listing in zip(files, listings, strict=True)
    ]
    missing = [index for index, entry in enumerate(entries) if entry is None]
    with ExitStack() as locks:
        # in one order, so that no two processes wait for each other
        for file in sorted({file for index in missing if (file := files[index]) is not None}):
            locks.enter_context(_locked(file))
        for index in missing:
            file = files[index]
            # meanwhile another process may have written it; one that is damaged is not read, and complained of, twice
            if file is not None and _version(file) != before[index]:
                entries[index] = _load(file, len(listings[index]))
        missing = [index for index in missing if entries[index] is None]
        pixels, failures = decode([listings[index] for index in missing], image_size, channels) if missing else ([], [])
        for position, index in enumerate(missing):
            failed = [failure for failure in failures if failure.split == position]
            entries[index] = torch.from_numpy(pixels[position]), failed
            file = files[index]
            if file is not None:
                _save(file, pixels[position], failed)
    complete = [entry for entry in entries if entry is not None]
    return (
        [images for images, _ in complete],
        [
            Failure(split, failure.index, failure.name, failure.reason)
            for split, (_, failed) in enumerate(complete)
            for failure in failed
        ],
    )


def _file(listing: Listing, image_size: int, channels: int) -> Path | None:
    fingerprint = listing.fingerprint()
    if fingerprint is None:
        return None
    key = json.dumps([DECODER_VERSION, PIL.__version__, fingerprint, len(listing), image_size, channels])
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    return cache_folder() / f"{name}-{channels}x{image_size}x{image_size}.safetensors"


def _version(file: Path | None) -> tuple[int, int, int] | None:
    """Return what tells one file of that name from another; None if there is none."""
    try:
        stat = None if file is None else file.stat()
    except OSError:
        return None
    return None if stat is None else (stat.st_ino, stat.st_size, stat.st_mtime_ns)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Keep other processes from making ``file`` meanwhile; without locks this does nothing."""
    path = file.with_name(f".{file.stem}{_LOCK}")
    lock = _acquired(path)
    try:
        yield
    finally:
        if lock is not None:
            # while it is held: who waits for it gets it all the same, and then finds the file made
            with suppress(OSError):
                path.unlink(missing_ok=True)
            lock.release()


def _acquired(path: Path) -> BaseFileLock | None:
    """Return the lock at ``path`` as soon as no other process holds it; None where there are no locks."""
    lock, probe = FileLock(path), path.with_name(f".{secrets.token_hex(8)}{_LOCK}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            # filelock waits for ever where the file system knows no locks; then that of a new file fails, too
            with FileLock(probe, timeout=0):
                probe.unlink(missing_ok=True)
            _log.info("another process is decoding the same images: waiting for it")
            lock.acquire()
    except (OSError, NotImplementedError):
        with suppress(OSError):  # `_save` will say what is wrong with the folder
            path.unlink(missing_ok=True)
            probe.unlink(missing_ok=True)
        return None
    return lock


def _load(file: Path, count: int) -> tuple[torch.Tensor, list[Failure]] | None:
    """Return pixels and failures; None if there is no such file, or it is not as it was written."""
    try:
        with safe_open(file, "pt") as content:
            images = content.get_tensor("images")
            metadata = content.metadata()
        if images.dtype != torch.uint8 or len(images) != count or metadata["sha256"] != _digest(images.numpy()):
            raise ValueError("the checksum differs")
        failures = [Failure(0, *entry) for entry in json.loads(metadata["failures"])]
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("cache file %s is damaged (%s): its images are decoded again", file, " ".join(str(error).split()))
        return None
    return images, failures


def _save(file: Path, pixels: np.ndarray, failures: Sequence[Failure]) -> None:
    metadata = {
        "sha256": _digest(pixels),
        "failures": json.dumps([[failure.index, failure.name, failure.reason] for failure in failures]),
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(file.parent)
        with replacing(file) as temporary:
            save_file({"images": torch.from_numpy(pixels)}, temporary, metadata)
    except (OSError, SafetensorError) as error:
        _log.warning(
            "decoded images cannot be kept in %s (%s): they are decoded again next time; set %s to another folder",
            file.parent,
            " ".join(str(error).split()),
            VARIABLE,
        )


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes that were killed had begun to write."""
    for path in folder.iterdir():
        # by age alone: writers on other hosts and in other containers cannot be asked
        if (is_temporary(path) or path.name.endswith(_LOCK)) and is_old(path):
            path.unlink(missing_ok=True)


def _digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).reshape(-1).data).hexdigest()
