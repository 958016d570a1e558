"""Trials that fail, and errors that come of a full disk or of too little memory. Imports nothing heavy."""

from __future__ import annotations

import errno
from collections.abc import Iterator

#: What torch says in RuntimeErrors of the CPU's memory and in OutOfMemoryError of a GPU's, what ONNX Runtime says, and
#: what is said of a process that was killed for memory.
_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "Failed to allocate memory",
)


class TrialFailed(RuntimeError):
    """A candidate cannot be scored; the text is the reason."""


class TooManyFailed(RuntimeError):
    """So many trials have failed that the search is not worth going on with."""


def is_disk_full(error: BaseException) -> bool:
    """Whether ``error``, or one behind it, tells of a disk without space."""
    return any(
        (isinstance(each, OSError) and each.errno in (errno.ENOSPC, errno.EDQUOT))
        or "No space left on device" in str(each)
        for each in chained(error)
    )


def is_memory_full(error: BaseException) -> bool:
    """Whether ``error``, or one behind it, tells of too little memory."""
    return any(
        isinstance(each, MemoryError)
        or (isinstance(each, OSError) and each.errno == errno.ENOMEM)
        or any(sign in str(each) for sign in _NO_MEMORY)
        for each in chained(error)
    )


def chained(error: BaseException | None) -> Iterator[BaseException]:
    """``error`` and those that it was raised from or while handling."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
