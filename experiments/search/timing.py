"""How long trainings and supernets take, from a few steps of each, made as the search makes them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch

from evaluators.data.batches import ShuffledBatches
from evaluators.data.images import ImageData
from evaluators.training.devices import pick_accelerator
from evaluators.training.pools import SharedPool
from evaluators.training.recipes import Recipe
from evaluators.training.retrain import retrain
from evaluators.training.run import TrainingRun
from experiments.bench import peak_memory
from experiments.runs.folder import RunFolder
from experiments.runs.task import SearchTask, stream_seed
from experiments.search.supernets import least_difference, train_supernet, with_data
from search_space.architecture import Architecture
from strategies.options import OneShotOptions, StrategyOptions

#: Steps of an epoch that is timed, and epochs: the first one warms up.
STEPS, EPOCHS = 12, 3
#: What measuring an image takes, as a share of training on it: a forward pass of the three that a step is worth.
_MEASURING = 1 / 3


@dataclass(frozen=True)
class TrainingTime:
    """How long trainings by one recipe take.

    Attributes:
        epoch: seconds of an epoch over all images.
        fixed: seconds of a training beside its epochs: building the network, measuring it at the end.
        start: seconds until the first one has begun: processes start, and libraries load in them.
        memory: bytes that a process holds at most.
    """

    epoch: float
    fixed: float
    start: float
    memory: int

    def of(self, epochs: float) -> float:
        """Seconds of a training of ``epochs``."""
        return self.fixed + epochs * self.epoch


@dataclass(frozen=True)
class SupernetTime:
    """How long the training of a supernet takes.

    Attributes:
        warmup: seconds of an epoch in which only weights learn.
        epoch: seconds of another epoch.
        fixed: seconds beside the epochs: building the supernet, finding the best architectures.
        memory: bytes that the process holds at most.
    """

    warmup: float
    epoch: float
    fixed: float
    memory: int


class _Timed(NamedTuple):
    epoch: float
    fixed: float
    ended: float
    memory: int


def steps_of(images: int, recipe: Recipe) -> int:
    """Steps of an epoch over so many images."""
    return len(ShuffledBatches(images, recipe.batch_size))


def part_of(data: ImageData, most: int) -> ImageData:
    """``data`` with at most so many training and validation images; the test split stays unopened."""
    part = copy(data)
    part.train, part.validation = (own.subset(range(min(most, len(own)))) for own in (data.train, data.validation))
    return part


def short(recipe: Recipe, epochs: int) -> Recipe:
    """``recipe`` for ``epochs``. The learning rate is low, as there is no warm-up: what diverges here might not do so
    in the search."""
    return replace(recipe, epochs=epochs, warmup_epochs=0, schedule="cosine", learning_rate=1e-3)


def random_networks(task: SearchTask, count: int) -> list[Architecture]:
    """``count`` architectures, uniform over what is searched; the same for the same seed."""
    rng = np.random.RandomState(stream_seed(task.seed, "forecast"))
    return [task.space.architecture(task.table.sample(row)) for row in task.searched.sample_many(rng, count)]


def time_trainings(
    task: SearchTask,
    recipe: Recipe,
    run: TrainingRun,
    networks: Sequence[Architecture],
    *,
    processes: int,
    threads: int,
    measured_images: int,
    keep_best: bool = False,
) -> TrainingTime:
    """Train each of ``networks`` for some steps as ``run`` says, ``processes`` at once as in the search, and with
    ``keep_best`` as in `TrainingRun`.

    The first one trains once more in each process, ahead of the others: what only a first training takes is
    `TrainingTime.start`. ``measured_images`` are those that a training measures its network on.
    """
    data = part_of(task.data, STEPS * recipe.batch_size)
    calls = [(network, short(recipe, EPOCHS), run, keep_best) for network in [networks[0]] * processes + list(networks)]
    began = time.time()
    if processes == 1:
        found = [_timed(data, *call) for call in calls]
    else:
        pool = SharedPool(processes, data, threads)
        try:
            found = [done.result() for done in [pool.submit(_timed, *call) for call in calls]]
        finally:
            pool.close()
    first, timed = found[:processes], found[processes:]
    epoch, fixed = fmean(one.epoch for one in timed), max(0.0, fmean(one.fixed for one in timed))
    start = max(one.ended for one in first) - began - (fixed + EPOCHS * epoch)
    image = epoch / len(data.train)
    return TrainingTime(
        epoch=image * len(task.data.train),
        fixed=fixed + max(0, measured_images - len(data.validation)) * image * _MEASURING,
        start=max(0.0, start),
        memory=max(one.memory for one in found),
    )


def _timed(data: ImageData, network: Architecture, recipe: Recipe, run: TrainingRun, keep_best: bool) -> _Timed:
    marks: list[float] = []
    begin = time.perf_counter()
    with TemporaryDirectory() as folder:  # resume points are part of a training's work
        own = replace(run, folder=Path(folder), keep_best=keep_best)
        retrain(network, data, recipe, own, on_epoch=lambda _: marks.append(time.perf_counter()))
        total = time.perf_counter() - begin
    epoch = (marks[-1] - marks[0]) / (len(marks) - 1)
    return _Timed(epoch, total - len(marks) * epoch, time.time(), peak_memory(pick_accelerator(run.accelerator)))


def time_supernet(task: SearchTask, options: StrategyOptions) -> SupernetTime:
    """Train the supernet of the strategy for some steps, and find the best architectures if the strategy does."""
    data = part_of(task.data, STEPS * task.config.search.batch_size)
    warmup = 0
    if isinstance(options, OneShotOptions) and options.warmup_epochs:
        warmup = EPOCHS
        options = replace(options, warmup_epochs=warmup)
    config = replace(task.config, search=short(task.config.search, warmup + EPOCHS))
    begin = time.perf_counter()
    marks: list[float] = []
    with TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        run.search.mkdir()
        part = with_data(config, task.classes, task.channels, data)
        learnt = train_supernet(
            options, part, run, "how long a step takes", lambda _: marks.append(time.perf_counter())
        )
    if learnt.log_probabilities:
        count = max(1, config.finalists)
        task.searched.best_k(learnt.log_probabilities, count, apart=least_difference(task))
    total = time.perf_counter() - begin
    searched, warmed = marks[warmup:], marks[:warmup]
    epoch = (searched[-1] - searched[0]) / (len(searched) - 1)
    slow = (warmed[-1] - warmed[0]) / (len(warmed) - 1) if warmed else epoch
    own_memory = peak_memory(pick_accelerator(config.accelerator))
    scale = supernet_steps(task.data, config.search, options) / supernet_steps(data, config.search, options)
    return SupernetTime(
        warmup=slow * scale,
        epoch=epoch * scale,
        fixed=max(0.0, total - len(searched) * epoch - len(warmed) * slow),
        memory=learnt.memory if config.devices == 1 else own_memory + config.devices * learnt.memory,
    )


def supernet_steps(data: ImageData, recipe: Recipe, options: StrategyOptions) -> int:
    """Steps of an epoch of a supernet: strategies that search meanwhile cycle the shorter of the two splits."""
    splits = [data.train, data.validation] if isinstance(options, OneShotOptions) else [data.train]
    return max(steps_of(len(split), recipe) for split in splits)


def threads_of_one(jobs: int) -> int:
    """Threads of a training of a search that makes ``jobs`` at once."""
    return 1 if jobs > 1 else torch.get_num_threads()
