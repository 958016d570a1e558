"""Devices that batches are made on: moving tensors there, and how much room there is."""

from __future__ import annotations

import torch


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return ``tensor`` on ``device``; itself if it is there.

    A copy from ordinary memory to a CUDA device makes the process wait until the device has caught up. So the tensor
    goes through pinned memory, and the copy waits in the queue of the device instead. That memory may be dropped at
    once: torch gives it to nobody else before the copy is done. The caller must not change a tensor that it has pinned
    itself until then.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def free_memory(device: torch.device) -> int | None:
    """Return the free bytes of a CUDA device; None for others, which share the memory of the computer.

    What torch has taken and keeps for itself counts as free: it is handed out before more is taken. It may be most of
    the device once a training has ended.
    """
    if device.type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept
