"""Folders that one process at a time writes to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from search_space.base.errors import InvalidRequest

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: what this process holds, each by device and number
_own: set[tuple[int, int]] = set()


@contextmanager
def held(folder: Path, field: str = "out") -> Iterator[None]:
    """Keep other processes that ask for it out of ``folder``, which is made, while the block runs.

    InvalidRequest if another one holds it. The system lets go when the process ends, however it ends, and no file is
    left behind. Where folders cannot be locked (Windows, some network file systems) nobody is kept out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        status = os.fstat(handle)
        place = status.st_dev, status.st_ino
        if place in _own:
            yield
            return
        with suppress(OSError):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                why = "another process is writing to it; wait until that has ended, or give another folder"
                raise InvalidRequest(f"{field}: {folder}: {why}") from None
        _own.add(place)
        try:
            yield
        finally:
            _own.discard(place)
    finally:
        os.close(handle)
