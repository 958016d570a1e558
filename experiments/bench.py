"""Speed on this machine, as ratios of things measured in turn within one run."""

from __future__ import annotations

import json
import logging
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.profiler.pytorch.flops import FlopsProfiler
from nni.nas.space import RawFormatModelSpace

from evaluators.images import ImageData, ImageSet, channel_statistics
from evaluators.module import ClassificationModule
from evaluators.recipes import Recipe
from evaluators.retraining import training_loader
from evaluators.supernet import supernet_evaluator
from evaluators.trainer import Accelerator, make_trainer, pick_accelerator
from search_space.candidates import SearchSpace
from search_space.network import build
from search_space.space import SepConvSpace
from strategies.differentiable import GDAS
from strategies.weight_sharing import RandomOneShot

BATCH = 64
STEPS = 24
#: NNI's profiler cannot follow the padding of even kernels nor channel splits, so its ratio is taken without them
PROFILED = ("dw_k3", "dw_k5", "dw_k7", "xsep_no2x2_k5", "xsep_no2x2_k7", "sep_k3", "bsconv_u_k3", "bsconv_s_k3", "skip")

Row = dict[str, Any]


def bench(what: str, repeats: int, accelerator: Accelerator, *, as_json: bool) -> None:
    """Measure ``what`` ("step", "cost" or "all") and print it."""
    logging.getLogger("nni").setLevel(logging.ERROR)  # its profiler warns of every layer that costs nothing
    rows: list[Row] = []
    if what in ("all", "cost"):
        rows += cost_rows(repeats)
    if what in ("all", "step"):
        rows += step_rows(repeats, accelerator)
    device = torch.cuda.get_device_name() if pick_accelerator(accelerator) == "cuda" else "cpu"
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, {device}, torch {torch.__version__}"
    if as_json:
        print(json.dumps({"machine": machine, "repeats": repeats, "results": rows}, indent=2))
        return
    print(f"medians of {repeats} rounds ({machine})")
    for row in rows:
        print(f"  {row['name']:58} {row['value']:>12,.6g} {row['unit']}")


def cost_rows(repeats: int) -> list[Row]:
    """Cost of many architectures: our table, and NNI's profiler on the same ones."""
    space = SepConvSpace(operators=PROFILED).eval()
    table = space.cost_table
    rng = np.random.default_rng(0)
    many = np.stack([rng.integers(len(values), size=200_000) for values in table.candidates.values()], axis=1)
    samples = [table.sample(row) for row in many[:500]]
    profiler = FlopsProfiler(
        space, torch.randn(1, 3, 32, 32), count_bias=False, count_normalization=False, count_activation=False
    )
    different = sum(profiler.profile(sample) != table.cost(sample)["macs"] for sample in samples)
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(len(many) / _timed(lambda: table.evaluate(many)))
        theirs.append(len(samples) / _timed(lambda: [profiler.profile(sample) for sample in samples]))
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return [
        {"name": "cost: architectures a second, vectorised", "value": statistics.median(ours), "unit": "/s"},
        {
            "name": "cost: architectures a second, NNI's profiler (MACs)",
            "value": statistics.median(theirs),
            "unit": "/s",
        },
        {"name": "cost: ratio ours / NNI's", "value": ratio, "unit": "x"},
        {"name": f"cost: MACs that differ from NNI's, of {len(samples)}", "value": different, "unit": ""},
    ]


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


class _StepClock(pl.Callback):
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


class _FixedPaths:
    """Stands in for a `FeasibleSet`: the given samples in turn."""

    def __init__(self, samples: list[dict[str, str]]) -> None:
        self.samples = samples
        self.drawn = 0

    def random(self, rng: np.random.RandomState) -> dict[str, str]:
        self.drawn += 1
        return self.samples[(self.drawn - 1) % len(self.samples)]


def _images(count: int) -> ImageData:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    images_set = ImageSet(images, torch.arange(count) % 10)
    mean, std = channel_statistics(images)
    return ImageData("noise", tuple("0123456789"), images_set, images_set, images_set, mean, std)


def _stand_alone(space: SearchSpace, samples: list[dict[str, str]], accelerator: Accelerator) -> float:
    """Mean step over ``samples``, each trained on its own for four steps of which the first does not count."""
    data, recipe = _images(4 * BATCH), Recipe(epochs=1, batch_size=BATCH, warmup_epochs=0)
    means = []
    for sample in samples:
        clock = _StepClock()
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
    data, recipe = _images(2 * STEPS * BATCH), Recipe(epochs=1, batch_size=BATCH, warmup_epochs=0)
    clock = _StepClock()
    evaluator = supernet_evaluator(
        data, recipe, accelerator=accelerator, title="bench", clips_gradients=clips, extra_callbacks=[clock]
    )
    strategy(RawFormatModelSpace(SepConvSpace(), evaluator), SequentialExecutionEngine())
    return clock.mean(skip=STEPS)


def _timed(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
