"""Files that users hand over: whatever is wrong with one is said in one line that begins with its name.

Nothing in them runs: texts are JSON or safe YAML, and a file can neither hang its reader nor grow in memory.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from search_space.base.checks import plain
from search_space.base.errors import InvalidRequest

T = TypeVar("T")

#: bytes of a text; the costs of every candidate of a large space take one of these millions
_LARGEST = 32 * 2**20
#: characters of a YAML text, which is read at about 100,000 a second, and how deep its brackets may nest
_LARGEST_YAML, _DEEPEST = 100_000, 100
#: characters of what PyYAML says
_SAID = 120
#: values that a YAML text may stand for, those behind aliases counted each time
_MOST_VALUES = 20_000


def check_regular(path: Path | str) -> None:
    """OSError if ``path`` is there and is neither a file nor a folder: a pipe or a device may never come to an end."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))


def read_text(path: Path | str) -> str:
    """The text, in UTF-8, in the file ``path``; OSError also for what is no file or is too large for a text."""
    check_regular(path)
    with open(path, encoding="utf-8") as stream:
        if os.fstat(stream.fileno()).st_size > _LARGEST:
            raise OSError(errno.EFBIG, f"it has more than {_LARGEST >> 20} MiB", str(path))
        return stream.read()


def read_file(kind: str, language: str, path: Path | str, read: Callable[[str], T], remedy: str = "") -> T:
    """What ``read`` makes of the text in the file ``path``.

    InvalidRequest begins with ``KIND file PATH``: for a file that cannot be read (``remedy`` ends the line if there is
    none), for a ValueError of ``read``, by which the file is not in its ``language``, and for an InvalidRequest of it.
    """
    try:
        return read(read_text(path))
    except InvalidRequest as error:
        why = str(error)
    except FileNotFoundError:
        why = f"does not exist{remedy}"
    except IsADirectoryError:
        why = "is a folder, not a file"
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
    except (ValueError, RecursionError) as error:  # not UTF-8, numbers or nesting beyond Python's limits
        why = f"is not {language} ({plain(' '.join(str(error).split()), _SAID)})"
    raise InvalidRequest(f"{kind} file {plain(path, 120)}: {why}")


def parse_json(text: str) -> Any:
    """The value in ``text``; ValueError if it is not JSON, InvalidRequest for a key that stands twice in an object."""
    return json.loads(text, object_pairs_hook=_without_repeats)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise InvalidRequest(f"{plain(repeated, 40)}: is given twice in one object")
    return result


def parse_yaml(text: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """The value in ``text``, which constructs no objects of Python's.

    ValueError, in one line, if it is not YAML, too long, nested too deep, or grows without bound by its aliases.
    """
    if len(text) > _LARGEST_YAML:
        raise ValueError(f"it has {len(text):,} characters, more than {_LARGEST_YAML:,}")
    if _depth(text) > _DEEPEST:  # which PyYAML takes long to give up
        raise ValueError(f"it nests deeper than {_DEEPEST} brackets")
    try:
        return _constructed(text, loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
        why = f"{error.problem or error.context}{place}"
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError, TypeError) as error:
        # special characters, wrong dates, numbers of thousands of digits
        why = " ".join(str(error).split()) or type(error).__name__
    raise ValueError(plain(why, _SAID))


def _constructed(text: str, loader: type[yaml.SafeLoader]) -> Any:
    reader = loader(text)  # not LibYAML's, which is faster and crashes where nesting is deep
    try:
        node = reader.get_single_node()
        if node is None:
            return None
        if _values(node, {}) > _MOST_VALUES:
            raise ValueError(f"it stands for more than {_MOST_VALUES:,} values, or for endlessly many")
        return reader.construct_document(node)
    finally:
        reader.dispose()


def _depth(text: str) -> int:
    """How deep the brackets of ``text`` nest, those in quotes among them."""
    depth = deepest = 0
    for letter in text:
        if letter in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "]}" and depth:
            depth -= 1
    return deepest


def _values(node: yaml.Node, known: dict[int, float]) -> float:
    """How many values ``node`` stands for with its aliases written out; infinitely many if it holds itself."""
    if id(node) not in known:
        known[id(node)] = float("inf")
        inner = node.value if isinstance(node, yaml.CollectionNode) else []
        nodes = [each for own in inner for each in (own if isinstance(own, tuple) else (own,))]
        known[id(node)] = 1 + sum(_values(each, known) for each in nodes)
    return known[id(node)]
