"""Progress bars, drawn on standard error."""

from __future__ import annotations

import sys
import threading
import time
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


class Work:
    """What a command has to do in all, in units that take about equally long; how long the rest takes follows from what
    was done.

    Args:
        units: all there is to do.
    """

    def __init__(self, units: float) -> None:
        self.units = units
        self.done = 0.0
        self._start = time.monotonic()

    def count(self, units: float, *, before: bool = False) -> None:
        """So many more are done; ``before`` this process began, or they will not be done at all, and took no time."""
        if before:
            self.units -= units
        else:
            self.done += units

    @property
    def left(self) -> float | None:
        """Seconds until all is done; None as long as nothing is."""
        if not self.done:
            return None
        return (time.monotonic() - self._start) / self.done * max(0.0, self.units - self.done)


class _Bar(tqdm):
    """A bar that tells, behind its own figures, the time left for all of the command's work."""

    def __init__(self, work: Work | None, **options: Any) -> None:
        self._work = work
        super().__init__(bar_format="{l_bar}{bar}{r_bar}{in_all}", **options)

    @property
    def format_dict(self) -> dict[str, Any]:
        left = None if self._work is None else self._work.left
        in_all = "" if left is None else f" {tqdm.format_interval(left)} left in all"
        return {**super().format_dict, "in_all": in_all}


def progress_bar(
    total: int, title: str, unit: str, *, initial: int = 0, shown: bool = True, work: Work | None = None
) -> Any:
    """A bar over ``total`` units that leaves no trace in a terminal when it is closed; none for what is over at once.

    Outside a terminal, as in the log of a batch job, it is drawn rarely. With ``work`` it tells how long the rest of it
    takes.
    """
    return _Bar(
        work,
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
