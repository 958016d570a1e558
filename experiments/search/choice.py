"""The strategy ``auto``: real trainings where enough of them fit the time, a supernet otherwise."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from evaluators.training.retrain import retrain
from evaluators.training.run import TrainingRun
from experiments.options.config import AUTO, FITTED_FINALISTS, SearchConfig, StrategyConfig, seconds
from experiments.options.files import read_config
from experiments.runs.engine import jobs_at_once
from experiments.runs.folder import RunFolder
from experiments.runs.task import SearchTask
from experiments.search.confirm import round_sizes
from experiments.search.timing import STEPS, part_of, random_networks, short, threads_of_one
from strategies.multi_trial.halving import HalvingOptions
from strategies.options import MultiTrialOptions

#: Whole trainings that must fit the time, at least, for a search by real trainings.
LEAST_TRAININGS = 30
#: The time if none is given.
USUAL_TIME = "30m"
#: Most trials that are planned, however much time there is.
_MOST_TRIALS = 1000
#: Networks whose training is timed.
_NETWORKS = 3


def as_begun(config: SearchConfig, out: Path) -> SearchConfig:
    """``config`` with the strategy that `AUTO` stood for when the run in ``out`` was begun, if there is one."""
    run = RunFolder(out)
    if config.strategy.name != AUTO or not run.config.is_file():
        return config
    return replace(config, strategy=read_config(run.config).strategy, time=None)


def chosen(config: SearchConfig, task: SearchTask) -> SearchConfig:
    """``config`` with a strategy in the place of `AUTO`, as a forecast says; prints the choice and its reason."""
    strategy, reason = choose(config, training_seconds(config, task))
    options = strategy.typed_options()
    how = f"with {options.trials} trials" if isinstance(options, HalvingOptions) else "over a supernet"
    print(f"strategy: {strategy.name} {how}, as {reason}")
    return replace(config, strategy=strategy, time=None)


def choose(config: SearchConfig, each: float) -> tuple[StrategyConfig, str]:
    """The strategy for trainings that take ``each`` seconds in one of the processes, and the reason for it."""
    jobs, limit = jobs_at_once(config), config.time or USUAL_TIME
    fit = seconds("time", limit) * jobs / each
    why = (
        f"{int(fit):,} trainings of about {rounded(each)} fit {limit} with {jobs} at once, and {LEAST_TRAININGS} are"
        " enough to search by real trainings"
    )
    if fit < LEAST_TRAININGS:
        return StrategyConfig("gdas"), why.replace("are enough", "are needed")
    usual = HalvingOptions()
    options = replace(usual, rungs=min(usual.rungs, config.search.epochs), ahead=max(usual.ahead, jobs))
    if config.time is not None:
        if config.finalists:
            fit -= sum(round_sizes(config.finalists + len(FITTED_FINALISTS), config.finalist_seeds))
        options = replace(options, trials=options.startup)
        while options.trials < _MOST_TRIALS:
            more = replace(options, trials=options.trials + 1)
            if whole_trainings(more, config) > fit:
                break
            options = more
    changed = {own.name: getattr(options, own.name) for own in fields(options)}
    return StrategyConfig(
        "halving", {name: value for name, value in changed.items() if value != getattr(usual, name)}
    ), why


def whole_trainings(options: HalvingOptions, config: SearchConfig) -> float:
    """What all rungs take, in whole trainings."""
    epochs = config.search.epochs
    return sum(count * own for count, own in rung_trainings(options, epochs)) / epochs


def rung_trainings(options: MultiTrialOptions, epochs: int) -> list[tuple[int, int]]:
    """For each rung: how many candidates are trained on it, and for how many epochs of a recipe of ``epochs``."""
    ends = (0, *options.epochs_at_rungs(epochs))
    return [(count, end - begin) for count, (begin, end) in zip(options.rung_sizes, pairwise(ends), strict=True)]


def training_seconds(config: SearchConfig, task: SearchTask) -> float:
    """How long one training by the search's recipe takes, from some steps of a few random networks in this process."""
    data, recipe = task.data, config.search
    part = part_of(data, STEPS * recipe.batch_size)
    run = TrainingRun(
        train_on="train", measure_on="validation", accelerator=config.accelerator, title="how long a training takes"
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(threads_of_one(jobs_at_once(config)))
    taken: list[float] = []
    try:
        for network in random_networks(task, _NETWORKS):
            ends: list[dict[str, float]] = []
            retrain(network, part, short(recipe, 2), run, on_epoch=ends.append)
            taken.append(ends[1]["seconds"])  # the first epoch warms up
    finally:
        torch.set_num_threads(threads)
    return float(np.mean(taken)) / len(part.train) * len(data.train) * recipe.epochs


def rounded(duration: float) -> str:
    """Seconds in words."""
    return (
        f"{duration:.1f} s" if duration < 10 else f"{duration:.0f} s" if duration < 120 else f"{duration / 60:.0f} min"
    )
