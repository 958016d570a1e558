"""A user's own code, named as ``module:callable``."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from search_space.base.checks import plain, refusal, require

_CALL = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
#: what a user's code may raise; an exit is an error of it too
ERRORS = (Exception, SystemExit)


def is_call(text: str) -> bool:
    """Whether ``text`` has the form ``module:callable``."""
    return _CALL.fullmatch(text) is not None


def check_call(where: str, text: str, example: str) -> None:
    """InvalidRequest for the field ``where`` unless ``text`` has that form; imports nothing."""
    require(is_call(text), where, text, "is not of the form module:callable", f"write it like {example}")


def imported(call: str, where: str, example: str) -> Callable[..., Any]:
    """What ``call`` names; modules are looked for in the working directory first. InvalidRequest for the field
    ``where`` if it is not there or cannot be called."""
    module_name, _, path = call.partition(":")
    check_call(where, call, example)
    try:
        with _working_directory_first():
            found: Any = importlib.import_module(module_name)
    except ERRORS as error:
        why = f"cannot be imported ({said(error)})"
        raise refusal(where, call, why, "modules are looked for in the working directory first") from None
    for name in path.split("."):
        if not hasattr(found, name):
            raise refusal(where, call, f"is not there: {module_name} has no {path}")
        found = getattr(found, name)
    if not callable(found):
        raise refusal(where, call, f"is of type {type(found).__name__}, which cannot be called")
    return found


def code_digest(call: str, where: str, example: str) -> str:
    """A hash of the file in which ``call`` stands, by which results of other code are told apart; errors as of
    `imported`."""
    file = getattr(sys.modules.get(imported(call, where, example).__module__), "__file__", None)
    return hashlib.sha256(b"" if file is None else Path(file).read_bytes()).hexdigest()[:16]


@contextmanager
def _working_directory_first() -> Iterator[None]:
    """A script's own folder heads Python's path, but `sepnas` is installed elsewhere."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        importlib.invalidate_caches()
        yield
    finally:
        sys.path.remove(here)


def said(error: BaseException) -> str:
    """What a user's code raised, in one short line."""
    return plain(" ".join(f"{type(error).__name__}: {error}".split()), 120)
