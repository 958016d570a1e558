"""Decoded pixels on disk, so that images of a data set are decoded once and not by every run.

One safetensors file holds the pixels of one split, uint8, and a SHA-256 of them. Its name is a digest of all that
decides the pixels: which images (`evaluators.sources.Listing.fingerprint`: files with their sizes and times of change),
size, channels, and the version of the decoder. So nothing is ever out of date, only unused; the whole folder can be
removed at any time. Any number of processes may write one file: each writes its own and renames it, and what they wrote
is the same.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from evaluators.decode import DECODER_VERSION, Failure, decode
from evaluators.sources import Listing
from search_space.atomic import is_temporary, replacing

_log = logging.getLogger(__name__)

#: Environment variable with the folder of the cache.
VARIABLE = "SEPNAS_CACHE"

# Seconds after which a file that is still being written belongs to a process that was killed.
_ABANDONED = 24 * 3600.0


def cache_folder() -> Path:
    """Return ``$SEPNAS_CACHE``, else ``$XDG_CACHE_HOME/sepnas``, else ``~/.cache/sepnas``; it may not exist."""
    own = os.environ.get(VARIABLE)
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "sepnas"


def decode_cached(
    listings: Sequence[Listing], image_size: int, channels: int
) -> tuple[list[torch.Tensor], list[Failure]]:
    """Return what `evaluators.decode.decode` does, as tensors, from the cache where it has them.

    A damaged file is made again, with a warning in the log. Where the cache cannot be written, a warning is all.
    """
    files = [_file(listing, image_size, channels) for listing in listings]
    found = [None if file is None else _load(file, len(listing)) for file, listing in zip(files, listings, strict=True)]
    missing = [index for index, entry in enumerate(found) if entry is None]
    pixels, failures = decode([listings[index] for index in missing], image_size, channels) if missing else ([], [])
    for position, index in enumerate(missing):
        failed = [failure for failure in failures if failure.split == position]
        found[index] = torch.from_numpy(pixels[position]), failed
        file = files[index]
        if file is not None:
            _save(file, pixels[position], failed)
    complete = [entry for entry in found if entry is not None]
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
        if is_temporary(path) and time.time() - path.stat().st_mtime > _ABANDONED:
            path.unlink(missing_ok=True)


def _digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).reshape(-1).data).hexdigest()
