"""Timing many parts fairly: in rounds, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from evaluators.base.progress import progress_bar
from evaluators.latency.backends import Backend, Timer
from evaluators.latency.parts import Part
from evaluators.latency.timing import WARMUP, prepared

#: Milliseconds of a part in each round: the median of the round's calls.
Rounds = dict[str, list[float]]


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
    """Time every part in ``rounds`` rounds of ``repeats`` calls, in another order in each; {key: a median a round}.

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
