"""``sepnas search --dry-run``: what a search would do, how long and how much memory it would take; writes nothing."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.space import RawFormatModelSpace

from evaluators.training.child import shared_threads
from evaluators.training.devices import pick_accelerator
from evaluators.training.run import TrainingRun
from experiments.bench import peak_memory
from experiments.options.config import SearchConfig
from experiments.runs.engine import jobs_at_once, retrainings_at_once
from experiments.runs.task import SearchTask
from experiments.search.choice import rounded, rung_trainings
from experiments.search.confirm import fitted_finalists, round_sizes
from experiments.search.engines import OrderedEngine
from experiments.search.search import prepared
from experiments.search.supernets import supernet
from experiments.search.timing import (
    TrainingTime,
    random_networks,
    steps_of,
    supernet_steps,
    threads_of_one,
    time_supernet,
    time_trainings,
)
from experiments.search.trials import InheritedWeights
from experiments.tables import table
from search_space.base.checks import refusal
from strategies.options import MultiTrialOptions, OneShotOptions, StrategyOptions
from strategies.registry import make

#: Random networks that are trained for some steps; more where more are trained at once.
NETWORKS = 4
#: Candidates that are scored by inherited weights, and proposals that are asked for, to see how long that takes.
_TRIALS, _PROPOSALS = 3, 16


@dataclass(frozen=True)
class Phase:
    """A part of a search.

    Attributes:
        name: of the phase.
        work: what is done in it, in words.
        steps: training steps, of all networks together.
        seconds: that it takes.
        memory: bytes that all its processes hold at most.
    """

    name: str
    work: str
    steps: int
    seconds: float
    memory: int


def dry_run(
    config: SearchConfig, out: Path | None, *, resume: bool = False, overwrite: bool = False, began: float | None = None
) -> list[Phase]:
    """Print what `search` would do with the same arguments, and return its phases; errors as of `search`.

    Writes nothing. ``out`` may be left out; a run that is begun there is forecast as if it began anew. ``began`` is the
    `time.perf_counter` at which the command began.
    """
    began = time.perf_counter() if began is None else began
    if config.engine == "ray":
        remedy = "use sequential, and as many jobs as the cluster has"
        raise refusal("engine", config.engine, "cannot be forecast, which measures this machine", remedy)
    task = prepared(config, out, resume=resume, overwrite=overwrite)
    inside = task.feasible
    searched = "" if task.searched is inside else f"; {task.searched.count:.4g} are searched"
    print(f"inside the budget: {inside.count:.4g} architectures, {inside.share:.3%} of the space{searched}")
    logging.getLogger("nni").setLevel(logging.CRITICAL)
    start = Phase("start", "libraries and images", 0, time.perf_counter() - began, _memory(task))
    own = [start, *search_phases(task)]
    phases = [*own, retraining_phase(task)]
    rows = [(one.name, one.work, f"{one.steps:,}", rounded(one.seconds), _size(one.memory)) for one in phases]
    print(table(rows, ("phase", "work", "steps", "time", "memory"), right=(2, 3, 4)))
    print(
        f"the search takes about {rounded(sum(one.seconds for one in own))}, judging by a few steps of random networks;"
        " the networks that it prefers may be slower or faster"
    )
    return phases


def search_phases(task: SearchTask) -> list[Phase]:
    """The phases of the search that ``task`` is for."""
    config, options = task.config, task.config.strategy.typed_options()
    epochs, jobs = config.search.epochs, jobs_at_once(config)
    times: dict[int, TrainingTime] = {}

    def trainings(name: str, groups: Sequence[tuple[int, int]], most: int, proposals: float = 0.0) -> Phase:
        processes = min(jobs, most)
        if processes not in times:
            times[processes] = _candidates(task, processes)
        return _trainings(name, task, groups, times[processes], processes, proposals)

    phases: list[Phase] = []
    if options.trains_supernet and config.supernet is None:
        phases.append(_supernet(task, options))
    if isinstance(options, MultiTrialOptions):
        proposals = options.trials * _proposal_seconds(task, options)
        if options.inherits_weights:
            phases.append(_inherited(task, options, proposals))
        else:
            rungs = rung_trainings(options, epochs)
            phases.append(trainings("search", rungs, options.ahead, proposals))
    if config.finalists:
        count = config.finalists + len(fitted_finalists(task, set()))
        rounds = [(size, epochs) for size in round_sizes(count, config.finalist_seeds)]
        phases.append(trainings("finalists", rounds, count))
    return phases


def retraining_phase(task: SearchTask) -> Phase:
    """What `sepnas retrain` does with the winner."""
    options, data = task.config.retrain, task.data
    processes = retrainings_at_once(task.config, len(options.seeds))
    # the test images stay unopened: validation images in their place
    run = TrainingRun(
        train_on="train",
        measure_on="validation",
        accelerator=task.config.accelerator,
        devices=options.devices,
        num_nodes=options.num_nodes,
    )
    timed = time_trainings(
        task,
        options.recipe,
        run,
        random_networks(task, NETWORKS),
        processes=processes,
        threads=shared_threads(processes),
        measured_images=data.sizes["test"],
        keep_best=options.train_on == "train",
    )
    images = len(data.train) + (0 if options.train_on == "train" else len(data.validation))
    timed = replace(timed, epoch=timed.epoch * images / len(data.train))
    groups = [(len(options.seeds), options.recipe.epochs)]
    phase = _trainings("retraining", task, groups, timed, processes)
    steps = len(options.seeds) * options.recipe.epochs * steps_of(images, options.recipe)
    return replace(phase, work=f"sepnas retrain: {phase.work}", steps=steps)


def _supernet(task: SearchTask, options: StrategyOptions) -> Phase:
    recipe = task.config.search
    timed = time_supernet(task, options)
    warmup = options.warmup_epochs if isinstance(options, OneShotOptions) else 0
    seconds = timed.fixed + warmup * timed.warmup + (recipe.epochs - warmup) * timed.epoch
    steps = recipe.epochs * supernet_steps(task.data, recipe, options)
    return Phase("supernet", f"{recipe.epochs} epochs", steps, seconds, timed.memory)


def _inherited(task: SearchTask, options: MultiTrialOptions, proposals: float) -> Phase:
    """Trials that are scored by inherited weights."""
    begin = time.perf_counter()
    judge = InheritedWeights(options, task, pick_accelerator(task.config.accelerator))
    model = RawFormatModelSpace(supernet(task.config, task), FunctionalEvaluator(print))
    fixed = time.perf_counter() - begin
    taken = []
    for network in random_networks(task, _TRIALS):
        begin = time.perf_counter()
        judge.begin(model.freeze(task.space.sample(network)), network, 0)()
        taken.append(time.perf_counter() - begin)
    seconds = fixed + options.trials * fmean(taken[1:]) + proposals
    return Phase("search", f"{options.trials} architectures by inherited weights", 0, seconds, _memory(task))


def _candidates(task: SearchTask, processes: int) -> TrainingTime:
    """Trainings by the search's recipe, so many at once."""
    run = TrainingRun(train_on="train", measure_on="validation", accelerator=task.config.accelerator)
    return time_trainings(
        task,
        task.config.search,
        run,
        random_networks(task, max(NETWORKS, 2 * processes)),
        processes=processes,
        threads=threads_of_one(processes),
        measured_images=len(task.data.validation),
    )


def _trainings(
    name: str,
    task: SearchTask,
    groups: Sequence[tuple[int, int]],
    timed: TrainingTime,
    processes: int,
    proposals: float = 0.0,
) -> Phase:
    """Groups of so many trainings of so many epochs, one group after the other, ``processes`` trainings at once.

    While several processes train, this one makes its proposals beside them.
    """
    seconds = timed.start + sum(math.ceil(count / processes) * timed.of(epochs) for count, epochs in groups)
    steps = sum(count * epochs for count, epochs in groups) * steps_of(len(task.data.train), task.config.search)
    work = f"{' + '.join(str(count) for count, _ in groups)} trainings"
    if processes == 1:
        return Phase(name, work, steps, seconds + proposals, timed.memory)
    memory = _memory(task) + processes * timed.memory
    return Phase(name, f"{work}, {processes} at once", steps, seconds + proposals / processes, memory)


def _proposal_seconds(task: SearchTask, options: MultiTrialOptions) -> float:
    """How long the strategy takes for a proposal, told of scores that mean nothing."""
    limit = min(_PROPOSALS, options.trials)
    rng = np.random.RandomState(0)
    strategy = make(task.config.strategy.name, options.for_trials(), feasible=task.searched, seed=0)
    begin = time.perf_counter()
    strategy(
        RawFormatModelSpace(supernet(task.config, task), FunctionalEvaluator(print)),
        OrderedEngine(lambda model: rng.uniform, limit),
    )
    return (time.perf_counter() - begin) / limit


def _memory(task: SearchTask) -> int:
    return peak_memory(pick_accelerator(task.config.accelerator))


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
