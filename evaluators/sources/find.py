"""Which data set a name means."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import evaluators.sources
from evaluators.sources.base import KINDS, Source, unusable
from search_space.base.checks import nearest, require, shown
from search_space.base.reading import check_regular

for _module in sorted(pkgutil.iter_modules(evaluators.sources.__path__), key=lambda module: module.name):
    importlib.import_module(f"evaluators.sources.{_module.name}")
KINDS.sort(key=lambda kind: kind.order)

#: Forms of names -> what they mean, in one line each.
DATASETS: dict[str, str] = {kind.form: kind.summary for kind in KINDS}


def find_source(name: str) -> Source:
    """Return the data set that ``name`` means, not decoded; see `DATASETS`.

    Raises:
        InvalidRequest: the name means nothing, or the data set cannot be used.
    """
    accepted = ", ".join(DATASETS)
    require(isinstance(name, str) and bool(name.strip()), "data.name", name, "is not a name", f"give one of {accepted}")
    path = local_path(name)
    try:
        if path is not None:
            check_regular(path)
        for kind in KINDS:
            opened = kind.open(name, path)
            if opened is not None:
                return opened
    except OSError as error:
        why = f"cannot be read ({shown(error.filename)}: {error.strerror})"
        raise unusable(name, why, "make it readable") from error
    raise unusable(name, "is not known, and no such folder exists", nearest(name, DATASETS))


def local_path(name: str) -> Path | None:
    """Return where the data set ``name`` lies on this machine; None if its name is not a path, or leads nowhere."""
    if any(kind.order == 0 and kind.form == name for kind in KINDS):  # a folder called digits is ./digits
        return None
    path = Path(name).expanduser()
    return path if path.exists() else None
