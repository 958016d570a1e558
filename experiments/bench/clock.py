"""What all benchmarks measure time with."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch

#: {"name": what is measured, "value": number, "unit": its unit}
Row = dict[str, Any]


class StepClock(pl.Callback):
    """Time from the end of one step to the end of the next."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *args: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())

    def mean(self, skip: int) -> float:
        """Mean duration of the steps after the first ``skip``."""
        return (self.ends[-1] - self.ends[skip - 1]) / (len(self.ends) - skip)


def timed(action: Callable[[], Any]) -> float:
    """Seconds that ``action`` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def now(device: str) -> float:
    """The time, in seconds, once all that ``device`` ("cpu" or "cuda") was given to do is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def free(device: str) -> None:
    """Give back the memory of what nothing refers to any more, so that the next measurement finds all of it."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


@dataclass(frozen=True)
class Comparison:
    """Medians over rounds.

    Attributes:
        ours: our speed.
        theirs: that of the other.
        ratio: ours / theirs; taken round by round, as what else the machine does hits both sides of a round.
    """

    ours: float
    theirs: float
    ratio: float


def in_turn(ours: Callable[[], float], theirs: Callable[[], float], repeats: int) -> Comparison:
    """Compare two speeds, each measured ``repeats`` times in turn with the other."""
    pairs = [(ours(), theirs()) for _ in range(repeats)]
    return Comparison(
        ours=statistics.median(own for own, _ in pairs),
        theirs=statistics.median(other for _, other in pairs),
        ratio=statistics.median(own / other for own, other in pairs),
    )
