"""The Ray cluster that this process uses: one that is there, or one of its own that ends with it."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import ray
import ray.cluster_utils
import ray.exceptions
import torch

from evaluators.base.devices import usable_cores
from evaluators.cluster.options import RayOptions
from search_space.base.checks import plain, refusal
from search_space.base.errors import InvalidRequest

#: how often the start of an own cluster is tried: Ray gives its processes some seconds each, which a machine that is
#: busy with other things may not have
_TRIES = 5
#: where its folder is, and how the name of that begins, before the id of its process; sockets in it allow no long path
_TEMPORARY, _FOLDER = Path("/tmp" if os.name == "posix" else tempfile.gettempdir()), "sepnas-ray-"
#: settings of an own cluster, unless the user has others: nobody is told of it, and a busy machine may take its time
_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_agent_register_timeout_ms": "300000"}
#: where Ray looks for the folder of its notes
_NOTES = "RAY_TMPDIR"


class Joined:
    """The cluster that this process has joined.

    Attributes:
        address: as `RayOptions` has it.
    """

    def __init__(self, address: str | None, own: OwnCluster | None) -> None:
        self.address = address
        self._own = own

    def room(self, cpus: int, gpus: float) -> int:
        """How many trials of so many cores and GPUs the cluster runs at once; InvalidRequest if none."""
        room = sum(
            int(min(node["Resources"].get(name, 0) // each for name, each in (("CPU", cpus), ("GPU", gpus)) if each))
            for node in ray.nodes()
            if node["Alive"]
        )
        if not room:
            what = f"{cpus} cores" + (f" and {gpus:g} GPUs" if gpus else "")
            raise InvalidRequest(f"ray: no machine of the cluster has {what}; lower ray.cpus or ray.gpus")
        return room

    def leave(self) -> None:
        """Leave the cluster, and end it if it is this process's own."""
        ray.shutdown()
        if self._own is not None:
            self._own.shutdown()


_joined: Joined | None = None


def join(options: RayOptions, at_once: int | None = None) -> Joined:
    """The cluster that ``options`` name, joined or started if this process has not done so; until `leave` or its end.

    Args:
        options: whose address it is.
        at_once: trials that an own cluster has room for at least, however few cores the machine has.

    Raises:
        InvalidRequest: There is no such cluster, or it does not let us in.
    """
    global _joined
    if _joined is not None and (_joined.address != options.address or not ray.is_initialized()):
        leave()
    if _joined is None:
        # what this process does about SIGTERM is its own affair; Ray would let it exit with 1
        ray._private.utils.set_sigterm_handler = lambda handler: _keep_sigterm()
        own, address = None, options.address
        if address is None:
            own = OwnCluster((at_once or 1) * options.cpus, gpus=options.gpus > 0)
            address = own.address
        _alone(address.startswith("127."))
        try:
            _connect(address)
        except BaseException:
            if own is not None:
                own.shutdown()
            raise
        finally:
            _keep_sigterm()
        _joined = Joined(options.address, own)
        # behind Ray's own, and so called before it, which kills the cluster: what is still joined then exits with 1
        atexit.unregister(leave)
        atexit.register(leave)
    return _joined


def leave() -> None:
    """Leave the cluster that this process has joined, if any."""
    global _joined
    if _joined is not None:
        joined, _joined = _joined, None
        joined.leave()


def _keep_sigterm() -> None:
    """Let SIGTERM do what Python was told it should; Ray's core, which does not tell Python, has it abort."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


def _alone(alone: bool) -> None:
    """Let Ray take 127.0.0.1 for the address of this machine, or not, as `RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER` does."""
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = not alone


def _connect(address: str) -> None:
    logging.getLogger("ray").setLevel(logging.ERROR)
    # Ray prints what became of each worker that it lost; we tell it of each trial
    ray._private.worker.print_to_stdstream = lambda *arguments, **options: None
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        why = f"cannot be joined ({plain(' '.join(str(error).split()), 120)})"
        remedy = "start it by `ray start --head`, set RAY_AUTH_TOKEN to its token, or leave the address out"
        raise refusal("ray.address", address, why, remedy) from None


class OwnCluster:
    """A cluster of this machine alone, whose processes listen on 127.0.0.1 and end with this process.

    Its token is new, and in the environment of this process and of those that it starts alone; its files are in a
    folder of their own, which goes with it.

    Args:
        cpus: cores that it takes the machine to have at least, however many there are.
        gpus: whether it has the machine's GPUs.
    """

    def __init__(self, cpus: int = 1, *, gpus: bool = False) -> None:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        ray._raylet.Config.initialize("")  # Ray has read the environment when it was imported
        _alone(True)
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-", dir=_TEMPORARY))
        settings = {
            "node_ip_address": "127.0.0.1",
            "temp_dir": str(self.folder),
            "num_cpus": max(usable_cores(), cpus),
            "num_gpus": torch.cuda.device_count() if gpus else 0,
            # neither is looked at: nothing scales a machine, and workers' logs are left where they are
            "no_monitor": True,
            "include_log_monitor": False,
            "include_dashboard": False,
        }
        with self._noted():
            self.nodes = _started(settings)
        self.address: str = self.nodes.address

    def shutdown(self) -> None:
        """End its processes, and delete its files."""
        with self._noted():
            self.nodes.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """Let Ray note in our folder that this cluster was started and ended.

        It would note that in ``$TMPDIR/ray``, which need not exist, and forget a cluster of the user's that is noted
        there.
        """
        (self.folder / "ray").mkdir(exist_ok=True)
        before = os.environ.get(_NOTES)
        os.environ[_NOTES] = str(self.folder)
        try:
            yield
        finally:
            if before is None:
                del os.environ[_NOTES]
            else:
                os.environ[_NOTES] = before


def _started(settings: dict[str, Any]) -> ray.cluster_utils.Cluster:
    here = psutil.Process()
    for left in reversed(range(_TRIES)):
        before = set(here.children(recursive=True))
        try:
            return ray.cluster_utils.Cluster(initialize_head=True, head_node_args=settings)
        except Exception as error:  # Ray raises Exception itself
            for process in set(here.children(recursive=True)) - before:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            if not left:
                told = plain(" ".join(str(error).split()), 120)
                raise RuntimeError(f"Ray cannot be started on this machine ({told})") from error
            time.sleep(1)
    raise AssertionError


def _sweep() -> None:
    """Delete the folders of own clusters whose process was killed."""
    for folder in _TEMPORARY.glob(f"{_FOLDER}*-*"):
        process = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            shutil.rmtree(folder, ignore_errors=True)
