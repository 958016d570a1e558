"""A supernet that several processes train together, each on its part of every batch.

All draw the same paths, as the generators of strategies are seeded alike and know nothing of ranks. What they compute
from their parts is averaged before it is used: weighted by the size of the parts (`share_of`), the mean over processes
of losses, rewards and gradients is that of the whole batch, and so all take the same steps. No module is wrapped:
`DistributedDataParallel` expects one backward pass a step through all parameters; a search has several, through some.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn


def _several() -> bool:
    there = torch.distributed.is_available() and torch.distributed.is_initialized()
    return there and torch.distributed.get_world_size() > 1


def average(values: Tensor) -> Tensor:
    """The mean of ``values`` over the processes, of the same shape; themselves where one trains alone."""
    if not _several():
        return values
    total = values.clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Set every gradient that there is to its mean over the processes."""
    if not _several():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return
    means = average(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, mean in zip(gradients, means.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view(gradient.shape))


def share_of(batch: Any) -> float:
    """The weight of the mean over a process's part of a batch; 1 for a whole batch."""
    return float(getattr(batch, "weight", 1.0))
