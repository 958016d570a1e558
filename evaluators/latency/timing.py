"""How long networks and their parts take.

Many of them are timed in rounds, so that what else the machine does hits all alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from evaluators.base.progress import progress_bar
from evaluators.latency.backends import Backend, Timer
from evaluators.latency.parts import Part, whole_network
from evaluators.measuring.inherited import reestimate_batch_norm
from search_space.architecture import Architecture
from search_space.base.checks import check_int

#: Calls before those that count.
WARMUP = 10
#: Milliseconds of a part in each round: the median of the round's calls.
Rounds = dict[str, list[float]]
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
        check_int(name, value, least)
    shape = (architecture.in_channels, architecture.image_size, architecture.image_size)
    with backend.active():
        timer = prepared(backend, whole_network(architecture), shape, batch)
        timer(warmup)
        return Latency.of(timer(repeats))


def time_in_rounds(
    parts: Sequence[Part],
    backend: Backend,
    *,
    batch: int = 1,
    repeats: int = 50,
    rounds: int = 5,
    warmup: int = WARMUP,
    known: Mapping[str, Sequence[float]] | None = None,
    on_round: Callable[[Rounds], None] = lambda _: None,
    kept: Path | None = None,
) -> Rounds:
    """Time every part in ``rounds`` rounds of ``repeats`` calls, in another order in each; {key: a median per round}.

    Of ``known`` timings only what is missing is added. ``on_round`` gets everything so far after each round, and in the
    first, in which parts are made, after each part. ``kept`` is a folder for what takes long to make.
    """
    done: Rounds = {part.key: list((known or {}).get(part.key, ()))[:rounds] for part in parts}
    timers: dict[str, Timer] = {}
    missing = sum(rounds - len(values) for values in done.values())
    with (
        backend.active(),
        progress_bar(missing, "latency", "timing") as bar,
    ):
        for number in range(rounds):
            order = [part for part in parts if len(done[part.key]) <= number]
            for index in np.random.default_rng(number).permutation(len(order)):
                part = order[index]
                first = part.key not in timers
                if first:
                    file = None if kept is None else kept / f"{hashlib.sha256(part.key.encode()).hexdigest()[:24]}.onnx"
                    timers[part.key] = prepared(backend, part.make(), part.shape, batch, file)
                timer = timers[part.key]
                timer(warmup)
                done[part.key].append(float(np.median(timer(repeats))))
                bar.update(1)
                if first:
                    on_round(done)
            on_round(done)
    return done


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
