"""What all benchmarks measure time with."""

from __future__ import annotations

import time
from collections.abc import Callable
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
