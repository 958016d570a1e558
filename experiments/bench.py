"""``sepnas bench``: how fast this machine trains and searches, and where the time goes."""

from __future__ import annotations

import json
import logging
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from evaluators.data.images import ImageData, ImageSet
from evaluators.training.devices import pick_accelerator
from evaluators.training.loaders import training_loader
from evaluators.training.module import ClassificationModule
from evaluators.training.pools import run_apart
from evaluators.training.recipes import Recipe
from evaluators.training.run import Accelerator
from evaluators.training.supernet import supernet_evaluator
from evaluators.training.trainer import fit, make_trainer
from search_space.architecture import Architecture
from search_space.candidates import SearchSpace
from search_space.hand_designed import baseline
from search_space.network import build
from search_space.space import SepConvSpace
from strategies.budget.budget import Budget
from strategies.budget.feasible import FeasibleSet
from strategies.one_shot.single_path import GDAS

#: Networks and search steps that are timed in a round, and images per step.
NETWORKS, SEARCH_STEPS, SEARCH_BATCH = 12, 12, 64
#: Steps per epoch of a training, and images per step. An epoch's own work (progress bar, metrics) is part of what is
#: measured; a CIFAR epoch has 390 steps, where it weighs less.
STEPS, BATCH = 16, 128
#: The learning rate is low because the images are noise: training that diverges multiplies infinities, which some
#: processors do more slowly.
RECIPE = Recipe(epochs=1, batch_size=BATCH, learning_rate=0.01, warmup_epochs=0, crop_padding=4, flip=True)


class Row(NamedTuple):
    """One figure: what was measured, the number and its unit."""

    name: str
    value: float
    unit: str


def bench(what: str, repeats: int, accelerator: Accelerator, *, as_json: bool) -> None:
    """Measure ``what`` (a key of `ROWS`, or "all") and print each row as it comes; JSON at the end.

    A benchmark that fails loses no rows, neither its own nor those of the others: it is named on standard error, and
    a RuntimeError follows when all have run.
    """
    logging.getLogger("nni").setLevel(logging.ERROR)  # it warns that there are no validation batches
    device = torch.cuda.get_device_name() if pick_accelerator(accelerator) == "cuda" else "cpu"
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, {device}, torch {torch.__version__}"
    if not as_json:
        print(f"medians of {repeats} rounds ({machine})", flush=True)
    rows, failed = [], []
    for name in ROWS if what == "all" else (what,):
        try:
            for row in ROWS[name](repeats, accelerator):
                rows.append(row._asdict())
                if not as_json:
                    print(f"  {row.name:60} {row.value:>12,.6g} {row.unit}", flush=True)
        except Exception as error:
            failed.append(name)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"sepnas: bench: {name} failed: {reason}", file=sys.stderr)
    if as_json:
        print(json.dumps({"machine": machine, "repeats": repeats, "results": rows}, indent=2))
    if failed:
        raise RuntimeError(f"{', '.join(failed)} failed, see above; the other rows are complete")


# --- what is measured ---


def step_rows(repeats: int, accelerator: Accelerator) -> Iterator[Row]:
    """Training steps of random networks of the default space on their own, and steps of a search by gdas in it."""
    space = SearchSpace.create()
    drawn = FeasibleSet(space.cost_table, Budget()).sample_many(np.random.RandomState(0), NETWORKS)
    networks = [space.architecture(space.cost_table.sample(row)) for row in drawn]
    seconds = [[_mean_step(networks, accelerator), _search_step(accelerator)] for _ in range(repeats)]
    names = [f"{NETWORKS} random networks, each on its own", "gdas (weights and architecture)"]
    yield from _compared("step: time", names, 1e3 * np.array(seconds), "ms")


def retrain_rows(repeats: int, accelerator: Accelerator) -> Iterator[Row]:
    """Training of MobileNetV3-Small at 32 x 32, beside a loop in bare PyTorch that does the same work.

    The two take steps in turn, so that other load on the machine slows down both. Peak memory is measured in a process
    of its own for each, above what the process holds before the first step.
    """
    device = pick_accelerator(accelerator)
    recipe = replace(RECIPE, epochs=repeats + 1)
    data = noise(STEPS * BATCH)
    seconds = _epoch_seconds(data, recipe, accelerator, bare_steps(data, recipe, device))
    names, images = ["bare PyTorch", "ours"], STEPS * BATCH
    yield from _compared("retrain: images per second", names, images / seconds[:, ::-1], "/s")
    start = now(device)
    for _ in chain.from_iterable(repeat(_loader(data, recipe, device), repeats)):
        pass
    feeding = (now(device) - start) / repeats
    yield Row("retrain: input pipeline, share of the time", 100 * feeding / float(np.median(seconds[:, 0])), "%")
    peaks = [in_own_process(training_peak, side, accelerator) for side in ("bare", "ours")]
    yield from _compared("retrain: peak memory", names, np.array([peaks]) / 2**20, "MiB")
    if device == "cuda":  # few CPUs multiply bfloat16 in hardware
        seconds = _epoch_seconds(data, replace(recipe, precision="bf16"), accelerator)
        yield Row("retrain: images per second, bf16", images / float(np.median(seconds[:, 0])), "/s")


def _compared(title: str, names: Sequence[str], values: NDArray[np.float64], unit: str) -> Iterator[Row]:
    """The medians of ``values`` (rounds, names), and the median ratios to the first column: round by round, as other
    load on the machine hits all measurements of a round."""
    for column, name in enumerate(names):
        yield Row(f"{title}, {name}", float(np.median(values[:, column])), unit)
        if column:
            yield Row(f"{title}, {name}, ratio", float(np.median(values[:, column] / values[:, 0])), "x")


#: The benchmarks, in the order of "all".
ROWS: dict[str, Callable[[int, Accelerator], Iterator[Row]]] = {"retrain": retrain_rows, "step": step_rows}


# --- trainings whose steps are timed ---


class StepClock(pl.Callback):
    """Times each training step and, in turn with it, a step of ``other``.

    Attributes:
        seconds: of our step and of the other one, for each step.
    """

    def __init__(self, device: str, other: Iterator[None] | None = None) -> None:
        self.device = device
        self.other = other or repeat(None)
        self.seconds: list[tuple[float, float]] = []
        self._start = 0.0

    def on_train_start(self, *args: Any) -> None:
        self._start = now(self.device)

    def on_train_batch_end(self, *args: Any) -> None:
        middle = now(self.device)
        next(self.other)
        end = now(self.device)
        self.seconds.append((middle - self._start, end - middle))
        self._start = end


def noise(count: int) -> ImageData:
    """``count`` colour images of noise, 32 x 32, of ten classes; the same ones in each split.

    What images show has no influence on how long training on them takes.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    image_set = ImageSet(images, torch.arange(count) % 10)
    return ImageData("noise", tuple("0123456789"), image_set, image_set, image_set, (0.5,) * 3, (0.3,) * 3)


def bare_steps(data: ImageData, recipe: Recipe, device: str) -> Iterator[None]:
    """A training loop as one writes it by hand, over the batches that our training has too; yields after each step."""
    network: nn.Module = build(baseline("mobilenetv3-small")).to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    network.train()
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.learning_rate, 0.9, weight_decay=1e-4, nesterov=True, fused=True
    )
    loader = _loader(data, recipe, device)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs * len(loader))
    for _ in range(recipe.epochs):
        for images, labels in loader:
            loss = F.cross_entropy(network(images.contiguous(memory_format=torch.channels_last)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            yield


def training_peak(side: str, accelerator: Accelerator) -> int:
    """Bytes that four steps of ``side`` ("ours" or "bare") add to the peak memory of this process."""
    device = pick_accelerator(accelerator)
    data = noise(4 * BATCH)
    before = peak_memory(device)
    if side == "ours":
        _epoch_seconds(data, RECIPE, accelerator)
    else:
        list(bare_steps(data, RECIPE, device))
    return peak_memory(device) - before


def _epoch_seconds(
    data: ImageData, recipe: Recipe, accelerator: Accelerator, other: Iterator[None] | None = None
) -> NDArray[np.float64]:
    """Of each epoch but the first, which allocates the memory: (epochs - 1, 2), ours and those of ``other``."""
    steps = _step_seconds(build(baseline("mobilenetv3-small")), data, recipe, accelerator, other)
    return steps.reshape(recipe.epochs, -1, 2)[1:].sum(axis=1)


def _mean_step(networks: Sequence[Architecture], accelerator: Accelerator) -> float:
    """Mean seconds of a training step: of four with each network, the first of which does not count."""
    recipe, data = replace(RECIPE, batch_size=SEARCH_BATCH), noise(4 * SEARCH_BATCH)
    steps = [_step_seconds(build(network), data, recipe, accelerator)[1:, 0] for network in networks]
    return float(np.mean(steps))


def _search_step(accelerator: Accelerator) -> float:
    """Mean seconds of a search step: of `SEARCH_STEPS`, after as many that allocate the memory."""
    clock = StepClock(pick_accelerator(accelerator))
    recipe, data = replace(RECIPE, batch_size=SEARCH_BATCH), noise(2 * SEARCH_STEPS * SEARCH_BATCH)
    evaluator = supernet_evaluator(data, recipe, accelerator=accelerator, title="bench", extra_callbacks=[clock])
    GDAS()(RawFormatModelSpace(SepConvSpace(), evaluator), SequentialExecutionEngine())
    return float(np.mean(clock.seconds[SEARCH_STEPS:], axis=0)[0])


def _step_seconds(
    network: nn.Module, data: ImageData, recipe: Recipe, accelerator: Accelerator, other: Iterator[None] | None = None
) -> NDArray[np.float64]:
    """Of each step of a training and of ``other`` in turn: (steps, 2)."""
    clock = StepClock(pick_accelerator(accelerator), other)
    trainer = make_trainer(
        recipe.epochs, title="bench", accelerator=accelerator, precision=recipe.precision, extra_callbacks=[clock]
    )
    fit(trainer, ClassificationModule(recipe, network, fused=True), _loader(data, recipe, clock.device))
    return np.array(clock.seconds)


def _loader(data: ImageData, recipe: Recipe, device: str) -> DataLoader[Any]:
    return training_loader(data.train, data, recipe, seed=0, device=device)


# --- time and memory ---


def now(device: str) -> float:
    """The time, in seconds, once everything that ``device`` ("cpu" or "cuda") was given to do is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_memory(device: str) -> int:
    """The most memory that this process has held so far on ``device``, bytes."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():
        # on Linux ru_maxrss includes the peak of the process that started this one
        return 1024 * int(next(line.split()[1] for line in status.read_text().splitlines() if "VmHWM" in line))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_own_process(function: Callable[..., int], *arguments: Any) -> int:
    """``function(*arguments)`` in a fresh process with as many threads: the peak of this one never falls again."""
    (done,) = run_apart(function, [arguments], 1)
    return done.result()
