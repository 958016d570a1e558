"""Files that users hand over: whatever is wrong with one is said in one line that begins with its name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from search_space.base.checks import plain
from search_space.base.errors import InvalidRequest

T = TypeVar("T")


def read_file(kind: str, language: str, path: Path | str, read: Callable[[str], T], remedy: str = "") -> T:
    """What ``read`` makes of the text in the file ``path``.

    InvalidRequest begins with ``KIND file PATH``: for a file that cannot be read (``remedy`` ends the line if there is
    none), for a ValueError of ``read``, by which the file is not in its ``language``, and for an InvalidRequest of it.
    """
    try:
        return read(Path(path).read_text(encoding="utf-8"))
    except InvalidRequest as error:
        why = str(error)
    except FileNotFoundError:
        why = f"does not exist{remedy}"
    except IsADirectoryError:
        why = "is a folder, not a file"
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
    except (ValueError, RecursionError) as error:  # not UTF-8, numbers or nesting beyond Python's limits
        why = f"is not {language} ({plain(' '.join(str(error).split()), 80)})"
    raise InvalidRequest(f"{kind} file {plain(path)}: {why}")


def parse_json(text: str) -> Any:
    """The value in ``text``; ValueError if it is not JSON, InvalidRequest for a key that stands twice in an object."""
    return json.loads(text, object_pairs_hook=_without_repeats)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise InvalidRequest(f"{plain(repeated, 40)}: stands twice in one object")
    return result
