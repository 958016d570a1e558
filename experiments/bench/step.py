"""Speed of training steps: networks on their own, the same paths in a supernet, and single-path search."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace

from evaluators.training.devices import pick_accelerator
from evaluators.training.loaders import training_loader
from evaluators.training.module import ClassificationModule
from evaluators.training.recipes import Recipe
from evaluators.training.run import Accelerator
from evaluators.training.supernet import supernet_evaluator
from evaluators.training.trainer import make_trainer
from experiments.bench.clock import Row, StepClock
from experiments.bench.noise import noise
from search_space.candidates import SearchSpace
from search_space.network import build
from search_space.space import SepConvSpace
from strategies.one_shot.single_path import GDAS
from strategies.one_shot.supernet import RandomOneShot

BATCH = 64
STEPS = 24


def step_rows(repeats: int, accelerator: Accelerator) -> list[Row]:
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
    return [
        {
            "name": "step: stand-alone network, mean of random ones",
            "value": statistics.median(alone) * 1e3,
            "unit": "ms",
        },
        {
            "name": f"step: same paths in the supernet ({operators} candidates) / stand-alone",
            "value": statistics.median(a / b for a, b in zip(sampled, alone, strict=True)),
            "unit": "x",
        },
        {
            "name": "step: gdas, a whole step of two passes / stand-alone",
            "value": statistics.median(a / b for a, b in zip(gdas, alone, strict=True)),
            "unit": "x",
        },
        {
            "name": "step: gdas, a pass / stand-alone",
            "value": statistics.median(a / b / 2 for a, b in zip(gdas, alone, strict=True)),
            "unit": "x",
        },
    ]


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
        trainer.fit(module, training_loader(data.train, data, recipe, seed=0, device=device))
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
