"""The supernet of a search, the strategy that trains it, and its training, in one process or several."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from nni.nas.strategy.base import Strategy
from numpy.typing import NDArray

from evaluators.data.images import ImageData
from evaluators.training.devices import pick_accelerator
from evaluators.training.processes import is_first, run_together
from evaluators.training.supernet import supernet_evaluator
from experiments.bench import peak_memory
from experiments.options.config import SearchConfig
from experiments.runs.folder import RunFolder
from experiments.runs.records import metrics_writer, write_probabilities
from experiments.runs.task import SearchTask, stream_seed
from search_space.space import SepConvSpace
from search_space.weights import save_weights
from strategies.one_shot.base import OneShotSearch
from strategies.one_shot.supernet import RandomOneShot
from strategies.options import MultiTrialOptions, StrategyOptions
from strategies.registry import make

Logs = dict[str, NDArray[np.float64]]
Report = Callable[[dict[str, float]], None]


class Learnt(NamedTuple):
    """What the training of a supernet leaves beside its weights.

    Attributes:
        log_probabilities: {label: log-probability of each candidate, (candidates,)}; empty if nothing was searched.
        memory: bytes that the first process held at most.
    """

    log_probabilities: Logs
    memory: int


def supernet(config: SearchConfig, task: SearchTask) -> SepConvSpace:
    """A fresh supernet for the images of ``task``, its weights drawn by the config's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(config.seed, "weights"))
        return SepConvSpace(task.space)


def supernet_strategy(options: StrategyOptions, task: SearchTask) -> tuple[Strategy, bool]:
    """What trains the supernet: a one-shot strategy, which searches meanwhile, or random paths, whose weights
    candidates inherit; and whether it clips gradients by itself."""
    config = task.config
    if isinstance(options, MultiTrialOptions):
        inside = {"costs": task.table} if options.supernet_for == "space" else {"feasible": task.feasible}
        seed = stream_seed(config.seed, "paths")
        return RandomOneShot(**inside, sampling=options.sampling or "uniform", seed=seed), False
    seed, clip = stream_seed(config.seed, "strategy"), config.search.gradient_clip
    return make(config.strategy.name, options, feasible=task.searched, gradient_clip_val=clip, seed=seed), True


def least_difference(task: SearchTask) -> int:
    """Choices in which the finalists of a search by probabilities differ: the most probable ones differ in one, and a
    shortlist of them would be one network with variations."""
    return max(1, len(task.table.labels) // 3)


def train_supernet(
    options: StrategyOptions, task: SearchTask, run: RunFolder, title: str, report: Report | None = None
) -> Learnt:
    """Train a fresh supernet into ``run``, from its resume point if there is one; a bar has the ``title``.

    ``config.devices`` processes share each batch. The first one writes the tables of epochs and, if candidates inherit
    them, the weights; ``report`` gets the figures of each epoch.
    """
    devices = task.config.devices
    if devices == 1:
        return _train(options, task, run, title, report)
    given = (options, task.config, task.classes, task.channels, task.data, run, title)
    return run_together(_train_as_one, given, devices, report)


def with_data(config: SearchConfig, classes: tuple[str, ...], channels: int, data: ImageData) -> SearchTask:
    """The search that ``config`` says, with images that are there already."""
    task = SearchTask(config)
    task.__dict__ |= {"classes": classes, "channels": channels, "data": data}  # where cached properties are kept
    return task


def _train_as_one(
    options: StrategyOptions,
    config: SearchConfig,
    classes: tuple[str, ...],
    channels: int,
    data: ImageData,
    run: RunFolder,
    title: str,
    report: Report | None = None,
) -> Learnt:
    """What each of the processes does."""
    logging.getLogger("nni").setLevel(logging.CRITICAL)
    return _train(options, with_data(config, classes, channels, data), run, title, report)


def _train(options: StrategyOptions, task: SearchTask, run: RunFolder, title: str, report: Report | None) -> Learnt:
    config = task.config
    strategy, clips = supernet_strategy(options, task)
    space = supernet(config, task)
    write = metrics_writer(run.metrics, "search") if is_first() else None

    def record(figures: dict[str, float]) -> None:
        if write is not None:
            write(figures)
            if isinstance(strategy, OneShotSearch):
                _write_probabilities(strategy.log_probabilities(), task, run, int(figures["epoch"]))
        if report is not None:
            report(figures)

    evaluator = supernet_evaluator(
        task.data,
        config.search,
        seed=stream_seed(config.seed, "batches"),
        accelerator=config.accelerator,
        folder=run.search,
        title=title,
        on_epoch=record,
        clips_gradients=clips,
        devices=config.devices,
    )
    strategy(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
    logs: Any = strategy.log_probabilities() if isinstance(strategy, OneShotSearch) else {}
    if isinstance(options, MultiTrialOptions) and is_first():
        save_weights(space.cpu(), run.supernet)
    return Learnt(logs, peak_memory(pick_accelerator(config.accelerator)))


def _write_probabilities(logs: Logs, task: SearchTask, run: RunFolder, epoch: int) -> None:
    candidates = task.table.candidates
    probabilities = {
        label: dict(zip(map(str, candidates[label]), np.exp(own).tolist(), strict=True)) for label, own in logs.items()
    }
    write_probabilities(run.probabilities, epoch, probabilities)
