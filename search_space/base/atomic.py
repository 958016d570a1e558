"""Files that are whole or not there, and folders for files that are in the making."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WRITER = r"(?P<host>[A-Za-z0-9-]+)-(?P<process>[0-9]+)-[0-9a-f]{8}"
_TEMPORARY = re.compile(rf"\..+\.sepnas-tmp-{_WRITER}(?:\.[A-Za-z0-9]+)?")

#: names of the temporary files that this process is writing
_writing: set[str] = set()

# Seconds without a change after which a file belongs to a writer that was killed, whoever that was.
_ABANDONED = 24 * 3600.0


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to; it takes the place of ``path`` when the block ends without an error.

    No two writers get the same one, even in containers that share a folder and count their processes alike.
    """
    temporary = _temporary(path)
    _writing.add(temporary.name)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
        _writing.discard(temporary.name)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder among the system's temporary files that is gone when the block ends; what libraries keep there for a
    while goes into it too. Those of processes that were killed are deleted first."""
    before, home = tempfile.tempdir, Path(tempfile.gettempdir())
    folder = _temporary(home / "scratch")
    for path in home.glob(".scratch.sepnas-tmp-*"):
        if _is_left(path):
            shutil.rmtree(path, ignore_errors=True)
    _writing.add(folder.name)
    try:
        folder.mkdir(mode=0o700)
        tempfile.tempdir = str(folder)
        yield folder
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)
        _writing.discard(folder.name)


def is_temporary(path: Path) -> bool:
    """Whether ``path`` is a file that `replacing` is still writing, or was when its process was killed."""
    return _TEMPORARY.fullmatch(path.name) is not None and path.is_file()


def is_old(path: Path) -> bool:
    """Whether ``path`` was last changed more than a day ago; no if it is gone."""
    try:
        return time.time() - path.stat().st_mtime > _ABANDONED
    except FileNotFoundError:
        return False


def is_abandoned(path: Path) -> bool:
    """Whether ``path`` is what `replacing` wrote in a process that was killed.

    Processes of other hosts cannot be asked; what they write counts as abandoned when it is a day old. What bears this
    process's number and is not its own is of an earlier one, as in a container that is started again.
    """
    return path.is_file() and _is_left(path)


def _temporary(path: Path) -> Path:
    """A name beside ``path`` that says who is writing."""
    # the suffix stays last: some writers choose the format by it
    writer = f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.stem}.sepnas-tmp-{writer}{path.suffix}")


def _is_left(path: Path) -> bool:
    """Whether the name of ``path`` is of a process that was killed."""
    match = _TEMPORARY.fullmatch(path.name)
    if match is None:
        return False
    process = int(match["process"])
    ended = path.name not in _writing if process == os.getpid() else not _is_alive(process)
    return is_old(path) or (match["host"] == _host() and ended)


def _host() -> str:
    """The name of this computer or container, as it may stand in a file name."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:32] or "host"


def _is_alive(process: int) -> bool:
    """Whether this host has a process of that number; yes where it cannot be found out."""
    if os.name != "posix":
        return True  # asking would end it there
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
