"""Where ``sepnas`` and ``python -m experiments`` begin: are the four packages, whose names are plain, really ours?

The wheel has this file as the module ``sepnas`` too, which therefore runs before a package of the name ``experiments``
is looked for. Imports nothing of ours until that is known.
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
    """A complaint if what Python finds by the name of one of our packages is not ours."""
    found = {name: _folder(name) for name in _PACKAGES}
    # installed, this file lies beside our packages; in a checkout, inside of one of them
    here = Path(__file__).resolve().parent
    homes = [folder for folder in (here, here.parent) if (folder / "experiments" / Path(__file__).name).is_file()]
    own = found["experiments"]
    if own is not None and all((own.parent / name / "__init__.py").is_file() for name in _PACKAGES):
        homes.append(own.parent)  # a checkout that is installed as editable
    for name, folder in found.items():
        if folder is None or folder.parent not in homes[-1:]:
            where = "nothing" if folder is None else str(folder / "__init__.py")
            home = f" the one in {homes[-1]}" if homes else " the one of sepnas"
            return f"package {name}: {where} is found in place of{home}; rename it or start elsewhere"
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
