"""How long a network takes: median and quartiles of forward passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from evaluators.latency.backends import Backend, Timer
from evaluators.measuring.inherited import reestimate_batch_norm
from search_space.architecture import Architecture
from search_space.base.errors import InvalidRequest
from search_space.network import build

#: Calls before those that count.
WARMUP = 10
#: Images that fresh networks take the statistics of their batch norms from.
_STATISTICS = 8


@dataclass(frozen=True)
class Latency:
    """Milliseconds of a forward pass of one batch: median and quartiles of the ``counted`` calls."""

    median: float
    lower: float
    upper: float
    counted: int

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Latency:
        """The figures of some calls."""
        lower, median, upper = np.quantile(milliseconds, (0.25, 0.5, 0.75)).tolist()
        return cls(median, lower, upper, len(milliseconds))


def measure_latency(
    architecture: Architecture, backend: Backend, *, batch: int = 1, repeats: int = 100, warmup: int = WARMUP
) -> Latency:
    """Time a network of ``architecture`` with weights of its initialisation, after ``warmup`` calls that do not count.

    Nor do, on the CPU, calls that were interrupted (`evaluators.latency.backends.timed`).
    InvalidRequest for numbers out of range.
    """
    for name, value, least in (("batch", batch, 1), ("repeats", repeats, 1), ("warmup", warmup, 0)):
        if value < least:
            raise InvalidRequest(f"{name}: {value} must be at least {least}")
    shape = (architecture.in_channels, architecture.image_size, architecture.image_size)
    with backend.active():
        timer = prepared(backend, whole_network(architecture), shape, batch)
        timer(warmup)
        return Latency.of(timer(repeats))


def whole_network(architecture: Architecture) -> nn.Module:
    """A network with weights of its initialisation; leaves torch's random state as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(architecture)


def prepared(
    backend: Backend, module: nn.Module, shape: tuple[int, int, int], batch: int, kept: Path | None = None
) -> Timer:
    """A timer of ``module`` on noise of ``shape`` (channels, height, width); for ``kept`` see `Backend.prepare`."""
    generator = torch.Generator().manual_seed(0)
    # without statistics of its own a deep fresh network fades to denormal numbers, which are slow
    reestimate_batch_norm(module, [_noise(_STATISTICS, shape, generator)])
    return backend.prepare(module, _noise(batch, shape, generator), kept)


def _noise(batch: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    return torch.randn(batch, *shape, generator=generator)
