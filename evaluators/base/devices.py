"""What batches are made on: moving tensors to devices, how much room there is, and how many cores."""

from __future__ import annotations

import os

import torch


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return ``tensor`` on ``device``; itself if it is there.

    A copy from ordinary memory to a CUDA device makes the process wait until the device has caught up. Through pinned
    memory, which torch keeps until the copy is done, it waits in the queue of the device instead.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def free_memory(device: torch.device) -> int | None:
    """Return the free bytes of a CUDA device, with those that torch keeps for itself; None for other devices."""
    if device.type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def usable_cores() -> int:
    """Return how many cores this process may use; all where the system does not tell, as on macOS and Windows."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
