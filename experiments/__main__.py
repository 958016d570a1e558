"""``python -m experiments`` is ``sepnas``."""

import sys

from experiments.guard import main

if __name__ == "__main__":
    sys.exit(main())
