"""What there is to train on here, and whether a training can use it."""

from __future__ import annotations

from typing import get_args

import torch

from evaluators.training.processes import is_launched, world_size
from evaluators.training.run import Accelerator
from search_space.base.checks import check_choice
from search_space.base.errors import InvalidRequest


def pick_accelerator(name: Accelerator) -> str:
    """ "cpu" or "cuda" for ``name``; "auto" takes the GPU where there is one. InvalidRequest if it is not there."""
    check_choice("accelerator", name, get_args(Accelerator))
    if name == "cuda" and not torch.cuda.is_available():
        raise InvalidRequest("accelerator: cuda, but torch sees no GPU here; use auto or cpu")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def check_precision(precision: str, device: str) -> None:
    """InvalidRequest if ``device`` ("cpu" or "cuda") cannot train in ``precision``."""
    if precision == "fp16" and device == "cpu":
        raise InvalidRequest("recipe.precision: fp16 needs a GPU, but this runs on the CPU; use bf16 or fp32")


def check_processes(devices: int, num_nodes: int, accelerator: Accelerator, parallel_seeds: int = 1) -> None:
    """InvalidRequest if trainings cannot be shared out to so many processes here, or not to those that were started."""
    if num_nodes > 1 and not is_launched():
        raise InvalidRequest(
            f"num_nodes: {num_nodes}, but neither torchrun nor SLURM started this process; start it by one of them"
        )
    world = world_size()
    if parallel_seeds > 1 and world > 1:
        raise InvalidRequest(
            f"parallel_seeds: {parallel_seeds}, but torchrun or SLURM started {world} processes that train each seed"
            " together; set it to 1, or start one process"
        )
    if is_launched() and world != devices * num_nodes:
        raise InvalidRequest(
            f"devices: {devices} on {num_nodes} node(s) are {devices * num_nodes} process(es), but torchrun or SLURM"
            f" started {world}, which would train apart; set devices and num_nodes to what was started"
        )
    if pick_accelerator(accelerator) == "cuda" and devices > (there := torch.cuda.device_count()):
        raise InvalidRequest(f"devices: {devices}, but torch sees {there} GPU(s) here; give at most {there}")
