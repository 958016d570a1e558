"""How a process begins that another one of ours has started, and how it is given what it needs."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import reduction
from typing import Any

import torch

from evaluators.base.progress import hide_bars


def begin_quietly(threads: int) -> None:
    """Let this process, one of several, draw no bars, print nothing, use so many threads and end with its parent.

    What becomes of it is the parent's affair: Ctrl-C, which a terminal sends to all of them, is left to that, and
    SIGTERM ends it at once, where Lightning would finish the batch and have the call fail.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(128 + number))
    end_with_parent()
    be_quiet(threads)


def be_quiet(threads: int) -> None:
    """Let this process, one of several, draw no bars, print nothing and use so many threads."""
    hide_bars()
    _quiet()
    torch.set_num_threads(threads)


def end_with_parent() -> None:
    """End this process, which `multiprocessing` started, soon after its parent, which may be killed at any moment.

    The parent may have ended already while this one was starting.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.pid,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _quiet() -> None:
    """Keep what libraries print in every process, as NNI on import, out of the terminal."""
    warnings.filterwarnings("ignore", module=r"(nni|pytorch_lightning|lightning_fabric|torch)(\..*)?")
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)


def shared_threads(processes: int) -> int:
    """Threads of each of so many ``processes`` that share those of this one."""
    return max(1, torch.get_num_threads() // processes)


@contextmanager
def given(value: Any) -> Iterator[Any]:
    """What stands for ``value`` among the arguments of processes that are started in the block; they get ``value``.

    They import quietly what they need for it. Tensors are shared, not copied, and by no queue, as that takes them by
    way of a temporary folder, which stays behind if this process is killed.
    """
    with ExitStack() as files:
        yield _Given(value, files)


class _Given:
    """Travels in a file without a name. `multiprocessing` would write it into a pipe of which this process keeps both
    ends: it would wait until the other has imported all it needs, and for ever if that one is killed meanwhile."""

    def __init__(self, value: Any, files: ExitStack) -> None:
        self._value = value
        self._files = files  # open until the processes have begun, and with them their own copies

    def __reduce__(self) -> tuple[Callable[[Any], Any], tuple[Any]]:
        if os.name != "posix":  # no process takes over open files there
            return _taken_quietly, (reduction.ForkingPickler.dumps(self._value).tobytes(),)
        file = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - that does
        reduction.ForkingPickler(file).dump(self._value)
        file.seek(0)
        return _taken, (reduction.DupFd(file.fileno()),)


def _taken(file: Any) -> Any:
    with open(file.detach(), "rb") as content:
        return _taken_quietly(content.read())


def _taken_quietly(pickled: bytes) -> Any:
    _quiet()
    return pickle.loads(pickled)
