"""Decoded pixels on disk, so that images of a data set are decoded once and not by every run.

One safetensors file holds the pixels of one listing, uint8, and a SHA-256 of them. Its name is a digest of all that
decides the pixels: which images (`Listing.fingerprint`), size, channels, and the version of the decoder. So nothing is
ever out of date, only unused; the whole folder can be removed at any time.

Of several processes that want the same images, one decodes them and the others wait for its file. It holds a lock,
which the system lifts when the process ends, however it ends. Where the file system has no locks, each process decodes
for itself and writes the same file.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path

import PIL
import torch
from filelock import BaseFileLock, FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from evaluators.data.decode import DECODER_VERSION, Failure, decode
from evaluators.sources.base import Listing
from search_space.base.atomic import is_old, is_temporary, replacing
from search_space.base.checks import plain

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


def decode_cached(listing: Listing, image_size: int, channels: int) -> tuple[torch.Tensor, list[Failure]]:
    """Return what `evaluators.data.decode.decode` does, from the cache where it has it.

    A damaged file is made again, with a warning in the log. Where the cache cannot be written, a warning is all.
    """
    fingerprint = listing.fingerprint()
    if fingerprint is None:
        return decode(listing.pictures, image_size, channels)
    key = json.dumps([DECODER_VERSION, PIL.__version__, fingerprint, len(listing), image_size, channels])
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    file = cache_folder() / f"{name}-{channels}x{image_size}x{image_size}.safetensors"
    entry = _load(file, len(listing))
    if entry is None:
        with _locked(file):
            # meanwhile another process may have written it
            entry = _load(file, len(listing))
            if entry is None:
                entry = decode(listing.pictures, image_size, channels)
                _save(file, *entry)
    return entry


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
        # filelock waits for ever where the file system knows no locks; there locking a new file at once fails too
        with FileLock(probe, timeout=0):
            probe.unlink(missing_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError):  # `_save` will say what is wrong with the folder
        with suppress(OSError):
            probe.unlink(missing_ok=True)
        return None
    return lock


def _load(file: Path, count: int) -> tuple[torch.Tensor, list[Failure]] | None:
    """Return pixels and failures; None if there is no such file, or it was damaged, and then it is removed."""
    try:
        with safe_open(file, "pt") as content:
            images = content.get_tensor("images")
            metadata = content.metadata()
        if images.dtype != torch.uint8 or len(images) != count or metadata["sha256"] != _digest(images):
            raise ValueError("the checksum differs")
        return images, [Failure(*entry) for entry in json.loads(metadata["failures"])]
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("cache file %s is damaged (%s): its images are decoded again", file, plain(error))
        with suppress(OSError):
            file.unlink(missing_ok=True)
        return None


def _save(file: Path, images: torch.Tensor, failures: Sequence[Failure]) -> None:
    metadata = {"sha256": _digest(images), "failures": json.dumps([astuple(failure) for failure in failures])}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(file.parent)
        with replacing(file) as temporary:
            save_file({"images": images}, temporary, metadata)
    except (OSError, SafetensorError) as error:
        _log.warning(
            "decoded images cannot be kept in %s (%s): they are decoded again next time; set %s to another folder",
            file.parent,
            plain(error),
            VARIABLE,
        )


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes that were killed had begun to write."""
    for path in folder.iterdir():
        # by age alone: writers on other hosts and in other containers cannot be asked
        if (is_temporary(path) or path.name.endswith(_LOCK)) and is_old(path):
            path.unlink(missing_ok=True)


def _digest(images: torch.Tensor) -> str:
    return hashlib.sha256(images.flatten().numpy().data).hexdigest()
