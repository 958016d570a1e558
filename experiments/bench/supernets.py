"""Training steps in a supernet: sampled paths beside the same networks alone, the full mixture beside NNI's."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from nni.nas.strategy import DARTS as NniDARTS

from evaluators.training.devices import pick_accelerator
from evaluators.training.loaders import training_loader
from evaluators.training.module import ClassificationModule
from evaluators.training.recipes import Recipe
from evaluators.training.run import Accelerator
from evaluators.training.supernet import supernet_evaluator
from evaluators.training.trainer import fit, make_trainer
from experiments.bench.measuring import Row, StepClock, in_own_process, noise, now, peak_memory
from search_space.candidates import SearchSpace
from search_space.network import build
from search_space.space import SepConvSpace
from strategies.one_shot.darts import DARTS
from strategies.one_shot.single_path import GDAS
from strategies.one_shot.supernet import RandomOneShot

BATCH = 64
STEPS = 24
#: Of the full mixture.
MIXTURE_BATCH, MIXTURE_PASSES = 16, 2


def step_rows(repeats: int, accelerator: Accelerator) -> Iterator[Row]:
    """Training steps: networks on their own, and the same paths sampled in a supernet."""
    space = SearchSpace.create()
    table = space.cost_table
    rng = np.random.RandomState(0)
    samples = [
        table.sample(np.array([rng.randint(len(values)) for values in table.candidates.values()])) for _ in range(STEPS)
    ]
    alone, sampled, gdas = [], [], []
    for _ in range(repeats):
        alone.append(_stand_alone(space, samples, accelerator))
        sampled.append(_one_shot(samples, accelerator))
        gdas.append(_gdas(accelerator))
    operators = max(map(len, space.candidates))
    yield Row("step: stand-alone network, mean of random ones", statistics.median(alone) * 1e3, "ms")
    name = f"step: same paths in the supernet ({operators} candidates) / stand-alone"
    yield Row(name, statistics.median(a / b for a, b in zip(sampled, alone, strict=True)), "x")
    whole = statistics.median(a / b for a, b in zip(gdas, alone, strict=True))
    yield Row("step: gdas, weights and architecture / stand-alone", whole, "x")


class _FixedPaths:
    """Stands in for a `FeasibleSet`: the given samples in turn."""

    def __init__(self, samples: list[dict[str, str]]) -> None:
        self.samples = samples
        self.drawn = 0

    def random(self, rng: np.random.RandomState) -> dict[str, str]:
        self.drawn += 1
        return self.samples[(self.drawn - 1) % len(self.samples)]


def _stand_alone(space: SearchSpace, samples: list[dict[str, str]], accelerator: Accelerator) -> float:
    """Mean step over ``samples``, each trained on its own for four steps of which the first does not count."""
    data, recipe = noise(4 * BATCH), Recipe(epochs=1, batch_size=BATCH, warmup_epochs=0)
    means = []
    for sample in samples:
        clock = StepClock()
        trainer = make_trainer(1, title="bench", accelerator=accelerator, extra_callbacks=[clock])
        device = pick_accelerator(accelerator)
        module = ClassificationModule(recipe, build(space.architecture(sample)))
        fit(trainer, module, training_loader(data.train, data, recipe, seed=0, device=device))
        means.append(clock.mean(skip=1))
    return statistics.fmean(means)


def _one_shot(samples: list[dict[str, str]], accelerator: Accelerator) -> float:
    return _supernet_step(RandomOneShot(paths=_FixedPaths(samples)), accelerator, clips=False)


def _gdas(accelerator: Accelerator) -> float:
    return _supernet_step(GDAS(), accelerator, clips=True)


def _supernet_step(strategy: Any, accelerator: Accelerator, *, clips: bool) -> float:
    """Mean step after a first round over the paths, in which memory is first allocated."""
    data, recipe = noise(2 * STEPS * BATCH), Recipe(epochs=1, batch_size=BATCH, warmup_epochs=0)
    clock = StepClock()
    evaluator = supernet_evaluator(
        data, recipe, accelerator=accelerator, title="bench", clips_gradients=clips, extra_callbacks=[clock]
    )
    strategy(RawFormatModelSpace(SepConvSpace(), evaluator), SequentialExecutionEngine())
    return clock.mean(skip=STEPS)


def mixture_rows(repeats: int, accelerator: Accelerator) -> Iterator[Row]:
    """Ratios on the default space, each round in processes of its own: memory once taken is not given back."""
    device = pick_accelerator(accelerator)
    rounds = [{kind: in_own_process(mixture_pass, kind, device) for kind in ("nni", "sepnas")} for _ in range(repeats)]
    for figure, name in (("seconds", "time of a pass"), ("bytes", "peak memory")):
        ratio = statistics.median(measured["nni"][figure] / measured["sepnas"][figure] for measured in rounds)
        yield Row(f"darts: {name}, NNI / sepnas", ratio, "x")


def mixture_pass(kind: str, device: str) -> dict[str, float]:
    """Forward and backward pass of the mixture of all candidates: the fastest of a few, and what they add to memory."""
    torch.manual_seed(0)
    strategy = DARTS() if kind == "sepnas" else NniDARTS()
    supernet = strategy.mutate_model(SepConvSpace()).to(device, memory_format=torch.channels_last)
    images = torch.randn(MIXTURE_BATCH, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    before = peak_memory(device)
    seconds = []
    for _ in range(MIXTURE_PASSES):
        start = now(device)
        supernet(images).square().sum().backward()
        seconds.append(now(device) - start)
        supernet.zero_grad(set_to_none=True)
    return {"seconds": min(seconds), "bytes": peak_memory(device) - before}
