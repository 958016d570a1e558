"""Where ``sepnas`` begins: are the four packages, whose names are plain, really ours?

The wheel has this file under the name ``sepnas`` instead, so that it runs before a package called ``experiments`` is
looked for. It imports nothing of ours until that is known.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

_PACKAGES = ("experiments", "search_space", "strategies", "evaluators")


def main() -> int:
    """Run the command line, unless another package of the name of one of ours is in its way."""
    complaint = shadow()
    if complaint is not None:
        print(f"sepnas: {complaint}", file=sys.stderr)
        return 2
    from experiments.cli import main

    return main()


def shadow() -> str | None:
    """A complaint if what Python finds by the name of one of our packages is not ours: they lie in one folder."""
    folders = {name: _folder(name) for name in _PACKAGES}
    first = folders["experiments"]
    home = None if first is None else first.parent
    if home is not None and not all((home / name / "__init__.py").is_file() for name in _PACKAGES):
        home = None
    for name, folder in folders.items():
        if home is None or folder is None or folder.parent != home:
            place = "nothing" if folder is None else folder / "__init__.py"
            wanted = "that of sepnas" if home is None else f"the one in {home}"
            return f"package {name}: {place} is found in place of {wanted}; rename it or start elsewhere"
    return None


def _folder(name: str) -> Path | None:
    """The folder of the package that ``import name`` would take."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin).resolve().parent


if __name__ == "__main__":
    sys.exit(main())
