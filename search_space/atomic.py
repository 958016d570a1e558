"""Files that are whole or not there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.sepnas-tmp-[0-9]+(\.[A-Za-z0-9]+)?")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to; it takes the place of ``path`` when the block ends without an error."""
    # the suffix stays last: some writers choose the format by it
    temporary = path.with_name(f".{path.stem}.sepnas-tmp-{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """Whether ``path`` is a file that `replacing` is still writing, or was when its process was killed."""
    return _TEMPORARY.fullmatch(path.name) is not None and path.is_file()
