"""``python -m experiments`` is ``sepnas``."""

import sys
from importlib import import_module
from importlib.util import find_spec

if __name__ == "__main__":
    # the wheel has the guard under the name of the command alone
    guard = "experiments.guard" if find_spec("experiments.guard") else "sepnas"
    sys.exit(import_module(guard).main())
