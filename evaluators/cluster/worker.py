"""What a worker of a Ray cluster does with a call of a pool."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import ray
from ray import cloudpickle
from ray.experimental import internal_kv

from evaluators.training.child import be_quiet
from search_space.base.errors import InvalidRequest

#: where calls that were begun are noted in the cluster's own table
_NAMESPACE = b"sepnas"


@dataclass(frozen=True)
class Surroundings:
    """Where the caller is, as far as calls depend on it.

    Attributes:
        pool: a name that no other pool has.
        path: where Python looks for modules.
        folder: the working directory, which paths of calls begin at.
        threads: of torch.
    """

    pool: str
    path: tuple[str, ...]
    folder: str
    threads: int

    @classmethod
    def here(cls, pool: str, threads: int) -> Surroundings:
        """Those of this process."""
        return cls(pool, tuple(sys.path), os.getcwd(), threads)

    def take(self) -> None:
        """Make them those of this process."""
        sys.path.extend(entry for entry in self.path if entry not in sys.path)
        try:
            os.chdir(self.folder)
        except OSError:
            raise InvalidRequest(
                f"ray.address: {platform.node()} of the cluster has no folder {self.folder}; start the command in one"
                " that all machines see"
            ) from None
        be_quiet(self.threads)


class Ended(NamedTuple):
    """How a call ended in its worker: ``value`` is the result, or the error that was raised."""

    raised: bool
    value: Any
    node: str


#: the pool whose value this process has, and the value
_kept: tuple[str, Any] | None = None


def perform(surroundings: Surroundings, attempt: str, shared: list[ray.ObjectRef], packed: bytes) -> Ended:
    """Make the call ``packed`` (function and arguments) with the value that ``shared`` refers to, packed too."""
    global _kept
    node = node_name()
    internal_kv._internal_kv_put(attempt.encode(), node.encode(), overwrite=True, namespace=_NAMESPACE)
    try:
        if _kept is None or _kept[0] != surroundings.pool:
            _kept = None  # frees the memory of what an earlier pool had
            surroundings.take()
            _kept = surroundings.pool, cloudpickle.loads(ray.get(shared[0]))
        function, arguments = cloudpickle.loads(packed)
        ended = Ended(False, function(_kept[1], *arguments), node)
        cloudpickle.dumps(ended.value)
    except Exception as error:
        return Ended(True, _portable(error), node)
    return ended


def node_name() -> str:
    """The machine, and the beginning of its node's id, since a machine may have several."""
    return f"{platform.node()}/{ray.get_runtime_context().get_node_id()[:8]}"


def begun_on(attempt: str) -> str | None:
    """The node on which an attempt was begun, if it was."""
    found = internal_kv._internal_kv_get(attempt.encode(), namespace=_NAMESPACE)
    return None if found is None else str(found.decode())


def forget(attempt: str) -> None:
    """Delete the note on an attempt."""
    internal_kv._internal_kv_del(attempt.encode(), namespace=_NAMESPACE)


def _portable(error: Exception) -> Exception:
    """``error`` without its traceback, or a RuntimeError that says the same where it cannot be sent."""
    error = error.with_traceback(None)
    try:
        cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
