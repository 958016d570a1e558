"""What all benchmarks measure with: rows, clocks, peaks of memory, comparisons in turn, and images to train on."""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytorch_lightning as pl
import torch
import torch.multiprocessing
from torch import Tensor, nn
from torch.nn import functional as F

from evaluators.data.images import ImageData, ImageSet, channel_statistics
from evaluators.training.module import ClassificationModule
from evaluators.training.optimizers import make_optimizer
from evaluators.training.processes import begin_quietly
from evaluators.training.recipes import Recipe

T = TypeVar("T")

#: Low, as the images may be noise: what diverges multiplies infinities, which some processors do more slowly.
_LEARNING_RATE = 0.01


class Row(NamedTuple):
    """One figure: what was measured, the number and its unit."""

    name: str
    value: float
    unit: str


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


def peak_memory(device: str) -> int:
    """The most memory that this process has taken so far, bytes."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():
        # Linux: what getrusage returns includes the peak of the process that started this one
        return 1024 * int(next(line.split()[1] for line in status.read_text().splitlines() if "VmHWM" in line))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_own_process(function: Callable[..., T], *arguments: Any) -> T:
    """``function(*arguments)`` in a fresh process with as many threads: memory once taken is not given back."""
    spawn = torch.multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, initializer=begin_quietly, initargs=(torch.get_num_threads(),)) as pool:
        return pool.submit(function, *arguments).result()


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
        ours=statistics.median(our for our, _ in pairs),
        theirs=statistics.median(their for _, their in pairs),
        ratio=statistics.median(our / their for our, their in pairs),
    )


class StepClock(pl.Callback):
    """Time from the end of one step to the end of the next."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *args: Any) -> None:
        self.ends.append(now("cuda" if torch.cuda.is_available() else "cpu"))

    def mean(self, skip: int) -> float:
        """Mean duration of the steps after the first ``skip``."""
        return (self.ends[-1] - self.ends[skip - 1]) / (len(self.ends) - skip)


class BareStep:
    """Calls train ``network`` on one batch that is on ``device`` ("cpu" or "cuda"), without a trainer around it.

    Layout and compilation are those of a retraining with such a recipe, and ``bf16`` is the autocast that Lightning's
    "bf16-mixed" is: weights, gradients and momentum stay float32. Everything else is as torch has it by default, so a
    GPU that has TF32 takes it for float32 convolutions.
    """

    def __init__(
        self,
        network: nn.Module,
        device: str,
        *,
        bf16: bool = False,
        compiled: bool = False,
        channels_last: bool = True,
    ) -> None:
        recipe = Recipe(learning_rate=_LEARNING_RATE, compile=compiled, channels_last=channels_last)
        self.device = device
        self.bf16 = bf16
        self.module = ClassificationModule(recipe, network.to(device), fused=True).train()
        self.optimizer = make_optimizer(self.module, recipe, fused=True)

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Forward pass, backward pass and the optimizer's step; on a GPU they are queued, not awaited."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            loss = F.cross_entropy(self.module(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def noise(count: int) -> ImageData:
    """``count`` images of noise in colour, 32 x 32, of ten classes; the same ones in each split.

    What images show has no influence on how long training on them takes.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    image_set = ImageSet(images, torch.arange(count) % 10)
    mean, std = channel_statistics(images)
    return ImageData("noise", tuple("0123456789"), image_set, image_set, image_set, mean, std)
