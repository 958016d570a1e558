"""Batch norms that look at a batch and learn nothing from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from search_space.sliced import Sliced


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Inside, the batch norms of ``module`` that are in training mode normalise by the batch but leave their running
    statistics as they are."""
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.track_running_stats]
    norms = [norm for norm in norms if norm.training]
    # narrower candidates decide for the wide layers that they are parts of
    sliced = [part for part in module.modules() if isinstance(part, Sliced) and part.tracks_statistics]
    for norm in norms:
        norm.track_running_stats = False
    for part in sliced:
        part.tracks_statistics = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
        for part in sliced:
            part.tracks_statistics = True
