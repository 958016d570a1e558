"""Independent calls in processes of their own, side by side, whatever becomes of a process."""

from __future__ import annotations

import math
import platform
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

import torch
import torch.multiprocessing

from evaluators.training.child import begin_quietly, given, shared_threads
from evaluators.training.processes import world_size
from evaluators.training.run import TrainingDiverged

T = TypeVar("T")


class ProcessDied(RuntimeError):
    """The process of a call was ended from outside or crashed, and so did those in which the call was repeated."""


class TimeLimitPassed(RuntimeError):
    """A call took longer than it may, and its process was ended."""


class Call(Future[T]):
    """A call that a pool was given: its result, and how it was made, which is known when there is one.

    Attributes:
        node: the machine.
        seconds: from its begin to its end, with those of repetitions; nan if it was not begun.
        attempts: processes that it was begun in.
    """

    def __init__(self) -> None:
        super().__init__()
        self.node = platform.node()
        self.seconds = math.nan
        self.attempts = 0

    def make(self, function: Callable[[], T]) -> None:
        """Let the result be that of ``function``, or the error that it raises."""
        if not self.set_running_or_notify_cancel():
            return
        start = time.perf_counter()
        self.attempts = max(1, self.attempts)
        try:
            result = function()
        except Exception as error:
            self.seconds = time.perf_counter() - start
            self.set_exception(error)
        else:
            self.seconds = time.perf_counter() - start
            self.set_result(result)


class Pool(Protocol):
    """What makes calls somewhere, several at once, with a value that all of them get first."""

    def submit(self, function: Callable[..., T], *arguments: Any) -> Call[T]:
        """``function(shared, *arguments)``, all of it picklable.

        The call fails as the function does, with `ProcessDied`, or with `TimeLimitPassed`.
        """

    def close(self) -> None:
        """Give up the calls that are not done."""


class InProcess:
    """A `Pool` that makes each call in this process as soon as it gets it."""

    def __init__(self, shared: Any) -> None:
        self._shared = shared

    def submit(self, function: Callable[..., T], *arguments: Any) -> Call[T]:
        """``function(shared, *arguments)``, done."""
        call: Call[T] = Call()
        call.make(partial(function, self._shared, *arguments))
        return call

    def close(self) -> None:
        """Nothing is left to give up."""


def run_each(
    function: Callable[..., T],
    calls: Sequence[tuple[Any, ...]],
    processes: int,
    limit: float | None = None,
    retries: int = 1,
) -> list[T]:
    """``function(*call)`` for each of ``calls``, at most ``processes`` at once, each in a process of its own.

    ``function`` and what it takes and returns must be picklable. The processes share the threads that this one has, as
    more threads than cores slow all of them down several times. All calls are run; then the first error, if any, is
    raised. ``limit`` and ``retries`` are those of `SharedPool`; with a limit, one at once has a process of its own too.
    """
    if calls and (limit is not None or (processes > 1 and len(calls) > 1)):
        made = run_apart(function, calls, min(processes, len(calls)), limit, retries)
        return [call.result() for call in made]
    made = []
    for call in calls:
        made.append(Call[T]())
        made[-1].make(partial(function, *call))
        # of processes that train together all diverge at once, but what else fails may fail in one alone: it must not
        # go on with the next call while the others are in this one
        if world_size() > 1 and not isinstance(made[-1].exception(), TrainingDiverged):
            made[-1].result()
    return [call.result() for call in made]


def run_apart(
    function: Callable[..., T],
    calls: Sequence[tuple[Any, ...]],
    processes: int,
    limit: float | None = None,
    retries: int = 1,
) -> list[Call[T]]:
    """``function(*call)`` for each of ``calls``, all done, in ``processes`` others that share this one's threads."""
    # all that they need is given to the processes at their start: see `given`
    pool = SharedPool(processes, (function, calls), shared_threads(processes), limit, retries)
    return run_in(pool, _make, [(number,) for number in range(len(calls))])


def run_in(
    pool: Pool,
    function: Callable[..., T],
    calls: Sequence[tuple[Any, ...]],
    ended: Callable[[Future[T]], object] = lambda call: None,
) -> list[Call[T]]:
    """``function(shared, *call)`` for each of ``calls`` in ``pool``, all done, and the pool closed.

    ``ended`` gets each call when it has ended; if it raises, the others are given up.
    """
    try:
        made = [pool.submit(function, *call) for call in calls]
        for call in as_completed(made):
            ended(call)
    finally:
        pool.close()
    return made


class SharedPool:
    """A `Pool` of processes of this machine that keep a picklable value, such as images, for all their calls.

    Each has a pool of its own, so that one that dies takes no other call with it.

    Args:
        processes: calls at once.
        shared: the value.
        threads: of each process.
        limit: seconds that a call may take, once its process is ready.
        retries: how often a call whose process dies is begun anew.
    """

    def __init__(
        self, processes: int, shared: Any, threads: int = 1, limit: float | None = None, retries: int = 1
    ) -> None:
        self._workers = [OwnProcess(threads, shared, limit, retries) for _ in range(processes)]
        self._idle: SimpleQueue[OwnProcess] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._waiters = ThreadPoolExecutor(processes)

    def submit(self, function: Callable[..., T], *arguments: Any) -> Call[T]:
        """``function(shared, *arguments)`` in one of the processes; errors as of `OwnProcess.make`."""
        call: Call[T] = Call()
        waiter = self._waiters.submit(self._in_an_idle_one, call, function, *arguments)
        waiter.add_done_callback(lambda waiter: waiter.cancelled() and call.cancel())
        return call

    def _in_an_idle_one(self, call: Call[T], function: Callable[..., T], *arguments: Any) -> None:
        worker = self._idle.get()
        try:
            call.make(lambda: worker.make(call, function, *arguments))
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
    """A process for one call at a time, begun when the first comes, and anew when it has died; arguments as of
    `SharedPool`."""

    def __init__(self, threads: int, shared: Any, limit: float | None, retries: int) -> None:
        self._threads = threads
        self._shared = shared
        self._limit = limit
        self._retries = retries
        self._pool: ProcessPoolExecutor | None = None
        self._given_up = False
        self._lock = threading.Lock()  # between the thread that calls and the one that gives up

    def make(self, call: Call[T], function: Callable[..., T], *arguments: Any) -> T:
        """``function(shared, *arguments)``, begun anew if the process dies; `ProcessDied` if it does so too often.

        `TimeLimitPassed` if it takes too long; it is not begun anew then.
        """
        code: int | None = None
        for call.attempts in range(1, self._retries + 2):
            try:
                if self._limit is not None:
                    self._submit(_ready).result()
                made = self._submit(function, *arguments)
                if wait([made], self._limit).done:
                    return made.result()
            except BrokenProcessPool:  # in the call, or before it, while nothing was to be done
                code = self._bury()
            else:
                self._kill()
                self._bury()
                raise TimeLimitPassed(time_limit_passed(self._limit))
        raise ProcessDied(_obituary(code, call.attempts))

    def _submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        with self._lock:
            if self._given_up:
                raise ProcessDied("it was given up")
            if self._pool is not None:
                return self._pool.submit(_call, function, *arguments)
            context = torch.multiprocessing.get_context("spawn")
            with given(self._shared) as shared:
                self._pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=(self._threads, shared))
                return self._pool.submit(_call, function, *arguments)  # starts the process

    def give_up(self) -> None:
        """End the process, and with it the call that it is in, which fails.

        Nothing is lost with one that waits, and torch would take its time to leave.
        """
        self._given_up = True
        self._kill()

    def _kill(self) -> None:
        with self._lock:
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


def time_limit_passed(limit: float | None) -> str:
    """What to say of a call that took longer than ``limit`` seconds."""
    return f"it took longer than trial_time allows ({limit:g} s)"


def times(attempts: int) -> str:
    """How often something happened, behind a comma; nothing for once."""
    return {1: "", 2: ", twice"}.get(attempts, f", {attempts} times")


def _obituary(code: int | None, attempts: int) -> str:
    """What to say of processes that ended by ``code``, as `multiprocessing` gives it."""
    if code is None or code >= 0:
        return f"its process ended with exit code {code}{times(attempts)}"
    name = signal.Signals(-code).name
    # nobody else sends this one as a rule
    reason = " (out of memory?)" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{times(attempts)}{reason}"


_shared: Any = None


def _begin(threads: int, shared: Any) -> None:
    global _shared
    begin_quietly(threads)
    _shared = shared


def _ready(_: Any) -> None:
    """Answers when the process has begun."""


def _call(function: Callable[..., T], *arguments: Any) -> T:
    return function(_shared, *arguments)


def _make(given: tuple[Callable[..., T], Sequence[tuple[Any, ...]]], number: int) -> T:
    function, calls = given
    return function(*calls[number])
