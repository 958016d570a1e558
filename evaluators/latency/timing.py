"""How long networks and their parts take.

When there are many, they are timed in rounds, so that other load on the machine hits all of them alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from evaluators.base.progress import progress_bar
from evaluators.latency.backends import Backend, Timer
from evaluators.measuring.inherited import reestimate_batch_norm
from search_space.base.checks import check_int
from search_space.blueprint import AnyNetwork
from search_space.network import build, initialise

#: Calls before those that count.
WARMUP = 10
#: Milliseconds of a part in each round: the median of the round's calls.
Rounds = dict[str, list[float]]
#: Images that fresh networks take the statistics of their batch norms from.
_STATISTICS = 8


@dataclass(frozen=True)
class Part:
    """Something that is timed alone.

    Attributes:
        key: tells it from all other parts, and is the same in another process.
        shape: of its input: channels, height, width.
        layers: makes its module, with any weights.
    """

    key: str
    shape: tuple[int, int, int]
    layers: Callable[[], nn.Module]

    def make(self) -> nn.Module:
        """Its module with weights that are the same each time; torch's random state stays as it is."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = self.layers()
            initialise(module)
        return module


def network_part(architecture: AnyNetwork) -> Part:
    """A whole network."""
    return Part(f"network {architecture}", input_shape(architecture), partial(build, architecture))


def input_shape(architecture: AnyNetwork) -> tuple[int, int, int]:
    """Channels, height and width of the images."""
    return architecture.in_channels, architecture.image_size, architecture.image_size


def measure_latency(architecture: AnyNetwork, backend: Backend, *, batch: int = 1, repeats: int = 100) -> list[float]:
    """Milliseconds of about ``repeats`` forward passes of a batch through a network with initial weights.

    The first `WARMUP` calls do not count, nor do, as far as possible, calls that other processes interrupted
    (`evaluators.latency.backends.timed`). InvalidRequest for numbers below 1.
    """
    check_int("batch", batch, 1)
    check_int("repeats", repeats, 1)
    with backend.active():
        timer = prepared(backend, network_part(architecture), batch)
        timer(WARMUP)
        return timer(repeats)


def time_in_rounds(
    parts: Sequence[Part],
    backend: Backend,
    *,
    batch: int = 1,
    repeats: int = 50,
    rounds: int = 5,
    known: Mapping[str, Sequence[float]] | None = None,
    on_round: Callable[[Rounds], None] = lambda _: None,
    kept: Path | None = None,
) -> Rounds:
    """Time every part in ``rounds`` rounds of ``repeats`` calls, in another order in each; {key: a median per round}.

    Of ``known`` timings only what is missing is added. ``on_round`` gets all timings so far after each round, and in
    the first, in which parts are made, after each part. ``kept`` is a folder for exported models.
    """
    timings: Rounds = {part.key: list((known or {}).get(part.key, ()))[:rounds] for part in parts}
    timers: dict[str, Timer] = {}
    missing = sum(rounds - len(medians) for medians in timings.values())
    with backend.active(), progress_bar(missing, "latency", "timing") as bar:
        for number in range(rounds):
            order = [part for part in parts if len(timings[part.key]) <= number]
            for index in np.random.default_rng(number).permutation(len(order)):
                part = order[index]
                is_new = part.key not in timers
                if is_new:
                    timers[part.key] = prepared(backend, part, batch, kept)
                timer = timers[part.key]
                timer(WARMUP)
                timings[part.key].append(float(np.median(timer(repeats))))
                bar.update(1)
                if is_new:
                    on_round(timings)
            on_round(timings)
    return timings


def prepared(backend: Backend, part: Part, batch: int, kept: Path | None = None) -> Timer:
    """A timer of ``part`` on ``batch`` images of noise; an exported model is kept in the folder ``kept``."""
    generator = torch.Generator().manual_seed(0)
    statistics, images = (torch.randn(count, *part.shape, generator=generator) for count in (_STATISTICS, batch))
    module = part.make()
    # without statistics of its own a deep fresh network fades to denormal numbers, which are slow
    reestimate_batch_norm(module, [statistics])
    name = f"{hashlib.sha256(part.key.encode()).hexdigest()[:24]}.onnx"
    return backend.prepare(module, images, None if kept is None else kept / name)
