"""The one seam between trainings and what runs them: this process, others of this machine, or a Ray cluster."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch

from evaluators.base.devices import usable_cores
from evaluators.training.child import shared_threads
from evaluators.training.devices import pick_accelerator
from evaluators.training.pools import Pool, SharedPool
from evaluators.training.processes import is_launched
from experiments.options.config import SearchConfig, seconds
from search_space.base.checks import refusal


def check_engine(config: SearchConfig) -> None:
    """InvalidRequest if what ``config`` names cannot run trainings here, or is a cluster that cannot be joined."""
    if config.engine == "ray":
        if find_spec("ray") is None:
            raise refusal("engine", config.engine, "needs the package ray", "`pip install 'sepnas[ray]'`")
        if is_launched():
            raise refusal("engine", config.engine, "cannot share what torchrun or SLURM started", "start one process")
        if config.ray.address is not None:
            jobs_at_once(config)


def open_pool(config: SearchConfig, shared: Any, most: int) -> Pool | None:
    """What makes as many calls at once as ``config`` says, ``most`` at most, with ``shared``, until it is closed.

    None if they are to be made in this process, one after the other.
    """
    return _open(config, shared, min(jobs_at_once(config), most), most, 1) if most else None


def open_retraining_pool(config: SearchConfig, shared: Any, total: int, left: int) -> Pool | None:
    """`open_pool` for the retrainings that are ``left`` of a ``total``; None if each takes several processes.

    What is left is trained by as many threads as what is done, so that results do not depend on interruptions.
    """
    if not left or _takes_several(config):
        return None
    jobs = retrainings_at_once(config, total)
    return _open(config, shared, jobs, left, shared_threads(jobs))


def _open(config: SearchConfig, shared: Any, jobs: int, most: int, threads: int) -> Pool | None:
    limit = time_limit(config)
    if config.engine == "ray":
        from evaluators.cluster.pool import RayPool

        return RayPool(config.ray, shared, min(jobs, most), limit=limit, retries=config.retries)
    if jobs > 1:
        return SharedPool(min(jobs, most), shared, threads, limit, config.retries)
    if limit is not None:
        return SharedPool(1, shared, torch.get_num_threads(), limit, config.retries)
    return None


def retrainings_at_once(config: SearchConfig, total: int) -> int:
    """How many of a ``total`` of retrainings are made at once; one if each takes several processes."""
    return 1 if _takes_several(config) else min(jobs_at_once(config), total)


def _takes_several(config: SearchConfig) -> bool:
    return is_launched() or config.retrain.devices * config.retrain.num_nodes > 1


def jobs_at_once(config: SearchConfig) -> int:
    """``config.jobs``, or by default one for each core; one on a GPU, and with Ray as many as the cluster has room for.

    InvalidRequest if that has room for none.
    """
    if config.engine == "ray":
        from evaluators.cluster.join import join

        room = join(config.ray, config.jobs).room(config.ray.cpus, config.ray.gpus)
        return room if config.jobs is None else config.jobs
    if config.jobs is not None:
        return config.jobs
    return 1 if pick_accelerator(config.accelerator) == "cuda" else usable_cores()


def time_limit(config: SearchConfig) -> float | None:
    """The seconds that ``config.trial_time`` stands for."""
    return None if config.trial_time is None else seconds("trial_time", config.trial_time)
