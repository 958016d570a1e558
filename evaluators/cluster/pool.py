"""A pool of calls on a Ray cluster."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import ray
from ray import cloudpickle
from ray import exceptions as lost

from evaluators.cluster.join import join
from evaluators.cluster.options import RayOptions
from evaluators.cluster.worker import Ended, Surroundings, begun_on, forget, perform
from evaluators.training.pools import Call, ProcessDied, TimeLimitPassed, time_limit_passed, times
from search_space.base.checks import plain

T = TypeVar("T")

#: what Ray raises when the worker of a call, its machine or what it needed is gone, and what to call it
_LOST: dict[type[Exception], str] = {
    lost.OutOfMemoryError: "was ended by Ray, as its machine was about to run out of memory",
    lost.WorkerCrashedError: "was killed or crashed (out of memory?)",
    lost.NodeDiedError: "was lost with its machine",
    lost.LocalRayletDiedError: "was lost with Ray on its machine",
    lost.ObjectLostError: "lost what it was given or what it returned",
}
#: seconds between two looks at a call whose time is limited
_LOOK = 0.2


class RayPool:
    """A `evaluators.training.pools.Pool` of workers of a Ray cluster, which keep the shared value for their calls.

    Ray places the calls, so machines that join the cluster get some and those that leave it lose theirs to others.

    Args:
        options: the cluster, and what a call takes of it.
        shared: the value, such as images.
        at_once: calls that Ray is given at once; those that find no room wait.
        limit: seconds that a call may take, once a worker has begun it.
        retries: how often a call whose worker is lost is begun anew.
    """

    def __init__(
        self, options: RayOptions, shared: Any, at_once: int, *, limit: float | None = None, retries: int = 1
    ) -> None:
        join(options, at_once)
        self._shared = ray.put(cloudpickle.dumps(shared))
        self._surroundings = Surroundings.here(uuid.uuid4().hex, threads=options.cpus)
        self._perform = ray.remote(perform).options(
            num_cpus=options.cpus, num_gpus=options.gpus, max_retries=0, name="sepnas trial"
        )
        self._limit = limit
        self._retries = retries
        self._running: set[ray.ObjectRef] = set()
        self._given_up = False
        self._lock = threading.Lock()  # between the threads that wait and the one that gives up
        self._waiters = ThreadPoolExecutor(at_once)

    def submit(self, function: Callable[..., T], *arguments: Any) -> Call[T]:
        """``function(shared, *arguments)`` in a worker."""
        call: Call[T] = Call()
        waiter = self._waiters.submit(call.make, lambda: self._make(call, cloudpickle.dumps((function, arguments))))
        waiter.add_done_callback(lambda waiter: waiter.cancelled() and call.cancel())
        return call

    def _make(self, call: Call[T], packed: bytes) -> T:
        why = ""
        for call.attempts in range(1, self._retries + 2):
            attempt = uuid.uuid4().hex
            try:
                ended = self._attempt(attempt, packed)
            except tuple(_LOST) as error:
                call.node = begun_on(attempt) or call.node
                why = next(words for kind, words in _LOST.items() if isinstance(error, kind))
            except TimeLimitPassed:
                call.node = begun_on(attempt) or call.node
                raise
            except lost.RayTaskError as error:  # a worker that cannot even begin, as where sepnas is not installed
                raise RuntimeError(f"a worker cannot start: {plain(' '.join(str(error.cause).split()))}") from None
            else:
                call.node = ended.node
                if ended.raised:
                    raise ended.value
                value: T = ended.value
                return value
            finally:
                forget(attempt)
        raise ProcessDied(f"its worker on {call.node} {why}{times(call.attempts)}")

    def _attempt(self, attempt: str, packed: bytes) -> Ended:
        with self._lock:
            if self._given_up:
                raise ProcessDied("it was given up")
            running = self._perform.remote(self._surroundings, attempt, [self._shared], packed)
            self._running.add(running)
        try:
            if self._limit is not None:
                self._wait(running, attempt, self._limit)
            ended: Ended = ray.get(running)
            return ended
        except lost.TaskCancelledError:
            raise ProcessDied("it was given up") from None
        finally:
            with self._lock:
                self._running.discard(running)

    def _wait(self, running: ray.ObjectRef, attempt: str, limit: float) -> None:
        """Wait until a call is done, and end it if it takes longer than ``limit`` seconds once it was begun."""
        begun: float | None = None
        while not ray.wait([running], timeout=_LOOK)[0]:
            if begun is None and begun_on(attempt) is not None:
                begun = time.monotonic()
            if begun is not None and time.monotonic() - begun > limit:
                ray.cancel(running, force=True)
                raise TimeLimitPassed(time_limit_passed(limit))

    def close(self) -> None:
        """End the calls at once that are not done, with their workers; the cluster stays joined."""
        with self._lock:
            self._given_up = True
            for running in self._running:
                ray.cancel(running, force=True)
        self._waiters.shutdown(wait=True, cancel_futures=True)
