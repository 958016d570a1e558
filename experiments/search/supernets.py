"""The supernet of a search and the strategy that trains it, as a config says."""

from __future__ import annotations

import torch
from nni.nas.strategy.base import Strategy

from experiments.options.config import SearchConfig
from experiments.runs.task import SearchTask, stream_seed
from search_space.space import SepConvSpace
from strategies.one_shot.supernet import RandomOneShot
from strategies.options import MultiTrialOptions, StrategyOptions
from strategies.registry import make


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
