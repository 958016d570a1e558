"""Speed and memory of a training step, against a loop in bare PyTorch that does the same."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evaluators.data.images import ImageData, ImageSet
from evaluators.training.devices import pick_accelerator
from evaluators.training.loaders import training_loader
from evaluators.training.module import ClassificationModule
from evaluators.training.optimizers import learning_rate_scale
from evaluators.training.recipes import Recipe
from evaluators.training.run import Accelerator
from evaluators.training.trainer import fit, make_trainer
from experiments.bench.measuring import Row, free, in_own_process, noise, now, peak_memory
from experiments.bench.pipeline import pipeline_rows
from experiments.bench.precision import precision_rows
from search_space.hand_designed import baseline
from search_space.network import build

BATCH = 128
#: Steps per epoch. An epoch's own work is part of what is measured; CIFAR's have 390 steps, where it weighs less.
STEPS = 16
_MEMORY_STEPS = 4
PADDING = 4


def retrain_rows(repeats: int, accelerator: Accelerator) -> Iterator[Row]:
    """All rows of the group: the training step, the input pipeline, and on a GPU precision and layout."""
    device = pick_accelerator(accelerator)
    yield from training_rows(repeats, accelerator)
    free(device)
    yield from pipeline_rows(repeats, device)
    free(device)
    # On a CPU torch.compile alone takes more than a minute on this network, longer than all the rest of the bench, and
    # few CPUs multiply bfloat16 in hardware: the comparison is one for GPUs.
    if device == "cuda":
        yield from precision_rows(repeats, device)


def training_rows(repeats: int, accelerator: Accelerator) -> Iterator[Row]:
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
    yield Row("retrain: images per second, bare PyTorch", BATCH / statistics.median(bare), "/s")
    yield Row("retrain: images per second, ours", BATCH / statistics.median(ours), "/s")
    yield Row("retrain: speed ours / bare, whole epochs", ratio, "x")
    yield Row("retrain: speed ours / bare, median of steps", paired, "x")
    share = 100 * statistics.median(pipeline) / statistics.median(ours)
    yield Row("retrain: input pipeline, share of a step", share, "%")
    memory = {side: in_own_process(training_peak, side, accelerator) for side in ("ours", "bare")}
    yield Row("retrain: peak memory, bare PyTorch", memory["bare"] / 2**20, "MiB")
    yield Row("retrain: peak memory ours / bare", memory["ours"] / memory["bare"], "x")


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


def training_peak(side: str, accelerator: Accelerator) -> int:
    """Bytes that a short training of ``side`` ("ours" or "bare") adds at its peak."""
    device = pick_accelerator(accelerator)
    data = noise(_MEMORY_STEPS * BATCH)
    recipe = Recipe(epochs=1, batch_size=BATCH, warmup_epochs=0, crop_padding=PADDING, flip=True)
    network: nn.Module = build(baseline("mobilenetv3-small"))
    before = peak_memory(device)
    if side == "bare":
        for _ in _bare_steps(data, recipe, device):
            pass
    else:
        fit(
            make_trainer(1, title="bench", accelerator=accelerator),
            ClassificationModule(recipe, network, fused=True),
            training_loader(data.train, data, recipe, seed=0, device=device),
        )
    return peak_memory(device) - before
