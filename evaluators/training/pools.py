"""Independent calls in processes of their own, side by side, whatever becomes of a process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any, TypeVar

import torch
import torch.multiprocessing

from evaluators.training.processes import begin_quietly, world_size
from evaluators.training.run import TrainingDiverged

T = TypeVar("T")


class ProcessDied(RuntimeError):
    """The process of a call was ended from outside or crashed, and so did the one in which the call was repeated."""


def run_each(function: Callable[..., T], calls: Sequence[tuple[Any, ...]], processes: int) -> list[T]:
    """``function(*call)`` for each of ``calls``, at most ``processes`` at once, each in a process of its own.

    ``function`` and what it takes and returns must be picklable. The processes use as many threads as this one, so that
    results are the same to the bit as one after the other. All calls are run; then the first error, if any, is raised.
    """
    if processes > 1 and len(calls) > 1:
        return [future.result() for future in run_apart(function, calls, min(processes, len(calls)))]
    futures: list[Future[T]] = []
    for call in calls:
        futures.append(Future())
        try:
            futures[-1].set_result(function(*call))
        except Exception as error:
            # of processes that train together all diverge at once, but what else fails may fail in one alone: it must
            # not go on with the next call while the others are in this one
            if world_size() > 1 and not isinstance(error, TrainingDiverged):
                raise
            futures[-1].set_exception(error)
    return [future.result() for future in futures]


def run_apart(function: Callable[..., T], calls: Sequence[tuple[Any, ...]], processes: int) -> list[Future[T]]:
    """``function(*call)`` for each of ``calls``, all done, in ``processes`` others with as many threads as this one."""
    pool = SharedPool(processes, None, threads=torch.get_num_threads())
    try:
        futures = [pool.submit(_without_shared, function, *call) for call in calls]
        wait(futures)
    finally:
        pool.close()
    return futures


class SharedPool:
    """Processes that keep a picklable value, such as images, for all the calls they are given.

    Each has a pool of its own, so that one that dies takes no other call with it.

    Args:
        processes: calls at once.
        shared: the value.
        threads: of each process.
    """

    def __init__(self, processes: int, shared: Any, threads: int = 1) -> None:
        self._workers = [OwnProcess(threads, shared) for _ in range(processes)]
        self._idle: SimpleQueue[OwnProcess] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._waiters = ThreadPoolExecutor(processes)

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """``function(shared, *arguments)`` in one of the processes; errors as of `OwnProcess.call`."""
        return self._waiters.submit(self._in_an_idle_one, function, *arguments)

    def _in_an_idle_one(self, function: Callable[..., T], *arguments: Any) -> T:
        worker = self._idle.get()
        try:
            return worker.call(function, *arguments)
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """End the processes at once; calls that are not done are given up."""
        for worker in self._workers:
            worker.give_up()
        self._waiters.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.close()


class OwnProcess:
    """A process for one call at a time, begun when the first comes, and anew when it has died."""

    def __init__(self, threads: int, shared: Any = None) -> None:
        self._begin = (threads, shared)
        self._pool: ProcessPoolExecutor | None = None
        self._given_up = False
        self._lock = threading.Lock()  # between the thread that calls and the one that gives up

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """``function(shared, *arguments)``, once more if the process dies meanwhile; `ProcessDied` if it does again."""
        code: int | None = None
        for _ in range(2):
            try:
                return self._submit(function, *arguments).result()
            except BrokenProcessPool:  # in the call, or before it, while nothing was to be done
                code = self._bury()
        raise ProcessDied(_obituary(code))

    def _submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        with self._lock:
            if self._given_up:
                raise ProcessDied("it was given up")
            if self._pool is None:
                context = torch.multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=self._begin)
            return self._pool.submit(_call, function, *arguments)  # starts the process

    def give_up(self) -> None:
        """End the process, and with it the call that it is in, which fails.

        Nothing is lost with one that waits, and torch would take its time to leave.
        """
        with self._lock:
            self._given_up = True
            for process in _processes(self._pool):
                process.kill()  # SIGTERM may find a handler of a library's, which lets the training go on

    def close(self) -> None:
        """Forget the process that was given up."""
        if self._pool is not None:
            self._pool.shutdown()

    def _bury(self) -> int | None:
        """Forget the process that died; its exit code."""
        with self._lock:
            pool, self._pool = self._pool, None
        assert pool is not None
        processes = _processes(pool)
        pool.shutdown()  # waits for the process
        return processes[0].exitcode if processes else None


def _processes(pool: ProcessPoolExecutor | None) -> list[BaseProcess]:
    return [] if pool is None else list((pool._processes or {}).values())


def _obituary(code: int | None) -> str:
    """What to say of a process that ended by ``code``, as `multiprocessing` gives it."""
    if code is None or code >= 0:
        return f"its process ended with exit code {code}, and so it did when it was repeated"
    name = signal.Signals(-code).name
    # nobody else sends this one as a rule
    reason = " (out of memory?)" if name == "SIGKILL" else ""
    return f"its process was ended by {name}, twice{reason}"


_shared: Any = None


def _begin(threads: int, shared: Any) -> None:
    global _shared
    begin_quietly(threads)
    _shared = shared


def _call(function: Callable[..., T], *arguments: Any) -> T:
    return function(_shared, *arguments)


def _without_shared(_: None, function: Callable[..., T], *arguments: Any) -> T:
    return function(*arguments)
