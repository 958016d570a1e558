"""A training that is shared out among several processes: whether this is one of them, and how they agree."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable
from functools import cache
from itertools import count
from typing import Any, TypeVar

import torch
import torch.distributed
import torch.multiprocessing

from evaluators.training.child import end_with_parent, given, shared_threads
from evaluators.training.run import TrainingDiverged
from search_space.base.errors import InvalidRequest

T = TypeVar("T")
Report = Callable[[dict[str, float]], None]


def is_launched() -> bool:
    """Whether torchrun or SLURM, say, started this process and others to train together."""
    from lightning_fabric.plugins.environments import SLURMEnvironment

    return "LOCAL_RANK" in os.environ or (SLURMEnvironment.detect() and int(os.environ.get("SLURM_NTASKS", "1")) > 1)


def is_first() -> bool:
    """Whether this process is the one that writes files and prints, of those that train together."""
    return _rank() == 0


def _rank() -> int:
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")))


def world_size() -> int:
    """How many processes were started to train together, this one among them; 1 unless `is_launched`."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()  # Lightning deletes WORLD_SIZE after a training
    if not is_launched():
        return 1
    return int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1")))


def check_alone(command: str) -> None:
    """InvalidRequest if several processes were started to do together what ``command`` does in one."""
    if (world := world_size()) > 1:
        raise InvalidRequest(
            f"processes: torchrun or SLURM started {world}, but {command} runs in one, and they would overwrite each"
            " other's files; start one (only retrain is shared by several)"
        )


def decided(decide: Callable[[], T]) -> T:
    """What ``decide()`` returns or raises in the first of the processes that train together, in all of them.

    For what is seen on disk, which may look different to each of them (caches of network file systems, a process that
    is late). All of them must call this equally often. The result must be picklable. The others raise a RuntimeError
    for any error but an InvalidRequest.
    """
    world = world_size()
    if world == 1:
        return decide()
    store, key = _store(world), f"sepnas/decided{next(_decisions)}"
    result: Any = None
    error: Exception | None = None
    if is_first():
        try:
            result = decide()
        except Exception as own:
            error = own
        shared = error
        if error is not None and not isinstance(error, InvalidRequest):  # which may not be picklable
            shared = RuntimeError(f"the first process failed: {type(error).__name__}: {error}")
        store.set(key, pickle.dumps((result, shared)).hex())
    else:
        result, error = pickle.loads(bytes.fromhex(store.get(key).decode()))
    if store.add(f"{key}/read", 1) == world:
        store.set(f"{key}/done", "")
    if is_first():
        store.wait([f"{key}/done"])  # the store may live in this process, which may be about to end
    if error is not None:
        raise error
    return result


_decisions = count()


@cache
def _store(world: int) -> torch.distributed.Store:
    """What the processes meet by before there is a process group, on the address that the group will have.

    torch lets the group share it, so no second port is needed. It is kept, as the group may be made later.
    """
    from lightning_fabric.plugins.environments import SLURMEnvironment

    if "RANK" not in os.environ and SLURMEnvironment.detect():
        slurm = SLURMEnvironment()
        os.environ |= {"MASTER_ADDR": slurm.main_address, "MASTER_PORT": str(slurm.main_port)}
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    store, _, _ = next(torch.distributed.rendezvous("env://", _rank(), world))
    return store


def run_together(function: Callable[..., T], arguments: tuple[Any, ...], processes: int, report: Report | None) -> T:
    """What ``function(*arguments, report)`` returns in the first of ``processes`` that run it together on this machine.

    They meet as processes that torchrun started do. The result must be picklable without tensors; what the first
    process reports is handed to ``report`` here. InvalidRequest and TrainingDiverged come through; if a process fails
    in another way, the others are ended and torch's ProcessRaisedException has its traceback.
    """
    queue = torch.multiprocessing.get_context("spawn").Queue()
    with given((function, arguments)) as call:
        surroundings = (processes, _free_port(), shared_threads(processes), queue)
        started = torch.multiprocessing.spawn(_join, (*surroundings, call), nprocs=processes, join=False)
    assert started is not None
    results: list[T] = []
    try:
        done = False
        while not done:
            done = started.join(timeout=0.05)
            while not queue.empty():
                kind, value = queue.get()
                if kind == "error":
                    raise value
                if kind == "result":
                    results.append(value)
                elif report is not None:
                    report(value)
    finally:
        for process in started.processes:
            if process.is_alive():
                process.kill()  # Lightning's answer to SIGTERM waits for the others
            process.join()
    return results[0]


def _join(
    rank: int,
    processes: int,
    port: int,
    threads: int,
    queue: Any,
    call: tuple[Callable[..., Any], tuple[Any, ...]],
) -> None:
    function, arguments = call
    end_with_parent()
    torch.set_num_threads(threads)
    # inside a job of one task Lightning would take each of us for that task
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        del os.environ[name]
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "NODE_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    try:
        result = function(*arguments, (lambda figures: queue.put(("report", figures))) if rank == 0 else None)
    except (InvalidRequest, TrainingDiverged) as error:
        queue.put(("error", error))
    else:
        if rank == 0:
            queue.put(("result", result))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    queue.close()
    queue.join_thread()
    # the queue is flushed; Python's own end would race with torch's threads, which now and then ends in SIGABRT
    os._exit(0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
