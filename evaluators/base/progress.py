"""Progress bars, drawn on standard error."""

from __future__ import annotations

import sys
import threading
from typing import Any

from tqdm.auto import tqdm

#: Seconds before a bar shows; most of what is short is over by then.
DELAY = 1.0

#: Seconds between two drawings in a terminal, and elsewhere, where each one stays in the log.
INTERVALS = (0.1, 30.0)

_hidden = False


def hide_bars() -> None:
    """Draw no bar in this process from now on: several in one terminal would write over each other."""
    global _hidden
    _hidden = True
    # tqdm's own lock is a semaphore, of which Python warns where the process is killed
    tqdm.set_lock(threading.RLock())


def progress_bar(total: int, title: str, unit: str, *, initial: int = 0, shown: bool = True) -> Any:
    """A bar over ``total`` units that leaves no trace in a terminal when it is closed; none for what is over at once.

    Outside a terminal, as in the log of a batch job, it is drawn rarely.
    """
    return tqdm(
        total=total,
        initial=initial,
        desc=title,
        unit=unit,
        leave=False,
        delay=DELAY,
        mininterval=INTERVALS[0 if sys.stderr.isatty() else 1],
        # whoever updates seldom must not skip a drawing that is due
        miniters=1,
        disable=_hidden or not shown,
    )
