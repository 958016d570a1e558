"""A command that is asked to end by SIGTERM, as schedulers and containers do, ends as by Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: 128 and the signal's number, as shells have it
TERMINATED = 128 + signal.SIGTERM
#: Seconds that tidying up may take. Nothing depends on it: files are whole, and processes end with this one.
_GRACE = 20.0


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Let the first SIGTERM raise `Terminated` in the block; those that follow, as `timeout` sends, change nothing.

    A process that has not left the block some seconds later is ended: Python loses an exception that is raised where
    none can be (a destructor), and tidying up may wait for something that never comes.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        yield
        return
    last_resort = threading.Timer(_GRACE, os._exit, (TERMINATED,))
    last_resort.daemon = True

    def end(number: int, frame: FrameType | None) -> None:
        if not last_resort.is_alive():
            last_resort.start()
            raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        last_resort.cancel()
