"""Speed and memory of a training step, against a loop in bare PyTorch that does the same."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evaluators.data.images import ImageData, ImageSet
from evaluators.training.devices import pick_accelerator
from evaluators.training.loaders import training_loader
from evaluators.training.module import ClassificationModule
from evaluators.training.recipes import Recipe
from evaluators.training.run import Accelerator
from evaluators.training.schedule import learning_rate_scale
from evaluators.training.trainer import fit, make_trainer
from experiments.bench.clock import Row, free, now
from experiments.bench.noise import noise
from experiments.bench.pipeline import pipeline_rows
from experiments.bench.precision import precision_rows, precision_speeds
from experiments.bench.roofline import roofline_rows
from search_space.hand_designed import baseline
from search_space.network import build

BATCH = 128
#: Steps an epoch. An epoch's own work is part of what is measured; CIFAR's have 390 steps, where it weighs less.
STEPS = 16
_MEMORY_STEPS = 4
PADDING = 4


def retrain_rows(repeats: int, accelerator: Accelerator) -> list[Row]:
    """All rows of the group: the training step, the input pipeline, precision and layout, and the roofline."""
    device = pick_accelerator(accelerator)
    rows = step_rows(repeats, accelerator)
    free(device)
    rows += pipeline_rows(repeats, device)
    free(device)
    # On a CPU torch.compile alone takes more than a minute on this network, longer than all the rest of the bench, and
    # few CPUs multiply bfloat16 in hardware: the comparison is one for GPUs.
    speeds = precision_speeds(repeats, device) if device == "cuda" else []
    return [*rows, *precision_rows(speeds), *roofline_rows(speeds)]


def step_rows(repeats: int, accelerator: Accelerator) -> list[Row]:
    """Our training step and a bare loop's on MobileNetV3-Small at 32 x 32, step by step in turn, ``repeats`` epochs.

    Both augment by crops and flips, hold the data in memory, and train in the same layout by the same optimizer and
    schedule. Peak memory is that of a process each, above what it holds before the first step.
    """
    device = pick_accelerator(accelerator)
    data = noise(STEPS * BATCH)
    recipe = Recipe(epochs=repeats + 1, batch_size=BATCH, warmup_epochs=0, crop_padding=PADDING, flip=True)
    turns = _Turns(_bare_steps(data, recipe, device), device)
    trainer = make_trainer(recipe.epochs, title="bench", accelerator=accelerator, extra_callbacks=[turns])
    fit(
        trainer,
        ClassificationModule(recipe, build(baseline("mobilenetv3-small")), fused=True),
        training_loader(data.train, data, recipe, seed=0, device=device),
    )
    rounds = [turns.seconds[start : start + STEPS] for start in range(STEPS, len(turns.seconds), STEPS)]
    ours = [sum(pair.ours for pair in pairs) / STEPS for pairs in rounds]
    bare = [sum(pair.bare for pair in pairs) / STEPS for pairs in rounds]
    # of neighbouring steps: what else the machine does hits both
    ratio = statistics.median(sum(p.bare for p in pairs) / sum(p.ours for p in pairs) for pairs in rounds)
    paired = statistics.median(pair.bare / pair.ours for pairs in rounds for pair in pairs)
    pipeline = [_pipeline_seconds(data, recipe, device) for _ in range(repeats)]
    memory = {side: _peak_in_a_process(side, accelerator) for side in ("ours", "bare")}
    return [
        {"name": "retrain: images a second, bare PyTorch", "value": BATCH / statistics.median(bare), "unit": "/s"},
        {"name": "retrain: images a second, ours", "value": BATCH / statistics.median(ours), "unit": "/s"},
        {"name": "retrain: speed ours / bare, whole epochs", "value": ratio, "unit": "x"},
        {"name": "retrain: speed ours / bare, median of steps", "value": paired, "unit": "x"},
        {
            "name": "retrain: input pipeline, share of a step",
            "value": 100 * statistics.median(pipeline) / statistics.median(ours),
            "unit": "%",
        },
        {"name": "retrain: peak memory, bare PyTorch", "value": memory["bare"] / 2**20, "unit": "MiB"},
        {"name": "retrain: peak memory ours / bare", "value": memory["ours"] / memory["bare"], "unit": "x"},
    ]


@dataclass(frozen=True)
class _Pair:
    """Seconds of one step of each."""

    ours: float
    bare: float


class _Turns(pl.Callback):
    """Runs a step of the bare loop after each of ours, and times both."""

    def __init__(self, bare: Iterator[None], device: str) -> None:
        self.bare = bare
        self.device = device
        self.seconds: list[_Pair] = []
        self._start = 0.0

    def on_train_start(self, *args: Any) -> None:
        self._start = self._now()

    def on_train_batch_end(self, *args: Any) -> None:
        middle = self._now()
        next(self.bare)
        end = self._now()
        self.seconds.append(_Pair(middle - self._start, end - middle))
        self._start = self._now()

    def _now(self) -> float:
        return now(self.device)


def _bare_steps(data: ImageData, recipe: Recipe, device: str) -> Iterator[None]:
    """A training as one writes it by hand; each step of it is one of the iterator's."""
    network: nn.Module = build(baseline("mobilenetv3-small")).to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    network.train()
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate_scale(recipe, recipe.epochs * STEPS))
    assert isinstance(data.train, ImageSet)
    images, labels = data.train.images.to(device), data.train.labels.to(device)
    mean = 255 * torch.tensor(data.mean, device=device).view(-1, 1, 1)
    std = 255 * torch.tensor(data.std, device=device).view(-1, 1, 1)
    for _ in range(recipe.epochs):
        for chosen in torch.randperm(len(images), device=device).split(BATCH):
            batch = ((_augmented(images[chosen]).float() - mean) / std).contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(network(batch), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            yield


def _augmented(images: Tensor) -> Tensor:
    """Random crops of padded images, and flips."""
    count, _, height, width = images.shape
    windows = F.pad(images, (PADDING,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    offsets = torch.randint(2 * PADDING + 1, (2, count), device=images.device)
    images = windows[torch.arange(count, device=images.device), :, offsets[0], offsets[1]]
    flips = torch.rand(count, 1, 1, 1, device=images.device) < 0.5
    return torch.where(flips, images.flip(3), images)


def _pipeline_seconds(data: ImageData, recipe: Recipe, device: str) -> float:
    """Seconds to make a batch."""
    loader = training_loader(data.train, data, recipe, seed=0, device=device)
    start = now(device)
    for _ in loader:
        pass
    return (now(device) - start) / STEPS


def _peak_in_a_process(side: str, accelerator: Accelerator) -> float:
    """Bytes that a short training of ``side`` ("ours" or "bare") adds at its peak."""
    code = f"from experiments.bench.retrain import print_peak; print_peak({side!r}, {accelerator!r}, {threads()})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def threads() -> int:
    """Threads of this process's tensor operations."""
    return torch.get_num_threads()


def print_peak(side: str, accelerator: Accelerator, num_threads: int) -> None:
    """Train for a few steps and print the bytes added at the peak, as JSON."""
    torch.set_num_threads(num_threads)
    device = pick_accelerator(accelerator)
    data = noise(_MEMORY_STEPS * BATCH)
    recipe = Recipe(epochs=1, batch_size=BATCH, warmup_epochs=0, crop_padding=PADDING, flip=True)
    network: nn.Module = build(baseline("mobilenetv3-small"))
    before = _peak(device)
    if side == "bare":
        for _ in _bare_steps(data, recipe, device):
            pass
    else:
        fit(
            make_trainer(1, title="bench", accelerator=accelerator),
            ClassificationModule(recipe, network, fused=True),
            training_loader(data.train, data, recipe, seed=0, device=device),
        )
    print(json.dumps(_peak(device) - before))


def _peak(device: str) -> int:
    """Bytes at the highest so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():
        # Linux: what getrusage tells includes the peak of the process that started this one
        return 1024 * int(next(line.split()[1] for line in status.read_text().splitlines() if "VmHWM" in line))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
