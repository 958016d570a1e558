"""Speed of our input pipeline against an ordinary `DataLoader` whose workers augment image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from evaluators.data.images import ImageData, ImageSet
from evaluators.data.loaders import usable_cores
from evaluators.training.loaders import training_loader
from evaluators.training.recipes import Recipe
from experiments.bench.measuring import BareStep, Comparison, Row, free, in_turn, noise, now
from search_space.hand_designed import baseline
from search_space.network import build

BATCH = 128
PADDING = 4
MOST_WORKERS = 16
#: Batches of one pass over the data, by device. On a GPU as many as an epoch of CIFAR's 50,000 images has, as each pass
#: begins with an empty queue; on CPUs fewer, as they take the better part of a second for each step.
FEED_BATCHES = {"cpu": 64, "cuda": 390}
TRAINED_BATCHES = {"cpu": 6, "cuda": 390}
#: Steps before any that count, in which memory is allocated and libraries are loaded.
WARM_STEPS = {"cpu": 1, "cuda": 20}

Step = Callable[[Tensor, Tensor], None]


class OneByOne(Dataset[tuple[Tensor, int]]):
    """Images in memory, handed out one at a time: padded and cut at random, flipped, normalised, as usually written."""

    def __init__(self, data: ImageData) -> None:
        assert isinstance(data.train, ImageSet)
        self.images = data.train.images
        self.labels = data.train.labels.tolist()
        self.mean = 255 * torch.tensor(data.mean).view(-1, 1, 1)
        self.std = 255 * torch.tensor(data.std).view(-1, 1, 1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index]
        height, width = image.shape[1:]
        top, left = torch.randint(2 * PADDING + 1, (2,)).tolist()
        image = F.pad(image, (PADDING,) * 4)[:, top : top + height, left : left + width]
        if torch.rand(()) < 0.5:
            image = image.flip(2)
        return (image.float() - self.mean) / self.std, self.labels[index]


def pipeline_rows(repeats: int, device: str) -> Iterator[Row]:
    """Images per second of both pipelines: batches that are only fetched, and batches that a network is trained on.

    Either side's time is that of whole passes over the data until all batches have arrived on ``device``. Its workers
    have been started by a pass before and persist, as in a training of many epochs.
    """
    workers = worker_count()
    theirs = f"DataLoader of {workers} workers"
    feed = feed_speeds(repeats, device, workers)
    yield Row(f"retrain: images per second fed, {theirs}", feed.theirs, "/s")
    yield Row("retrain: images per second fed, ours", feed.ours, "/s")
    yield Row(f"retrain: feed alone, ours / {theirs}", feed.ratio, "x")
    free(device)
    training = training_speeds(repeats, device, workers)
    yield Row(f"retrain: images per second trained, fed by {theirs}", training.theirs, "/s")
    yield Row("retrain: images per second trained, fed by ours", training.ours, "/s")
    yield Row(f"retrain: training, fed by ours / by {theirs}", training.ratio, "x")


def worker_count() -> int:
    """Worker processes for an ordinary loader: the cores that this process may use, at most 16."""
    return min(MOST_WORKERS, usable_cores())


def feed_speeds(repeats: int, device: str, workers: int) -> Comparison:
    """Images per second that either pipeline brings to ``device`` when nothing else is to be done."""
    data = noise(FEED_BATCHES[device] * BATCH)

    def leave(images: Tensor, labels: Tensor) -> None:
        """Do nothing with a batch."""

    ours, theirs = _our_loader(data, device), _ordinary_loader(data, device, workers)
    for loader in (ours, theirs):
        _pass(loader, device, leave)
    return in_turn(lambda: _speed(ours, device, leave), lambda: _speed(theirs, device, leave), repeats)


def training_speeds(repeats: int, device: str, workers: int) -> Comparison:
    """Images per second of the same training step of MobileNetV3-Small at 32 x 32, fed by either pipeline."""
    data = noise(TRAINED_BATCHES[device] * BATCH)
    ours, theirs = _our_loader(data, device), _ordinary_loader(data, device, workers)
    our_step, their_step = _fresh_step(device), _fresh_step(device)
    for loader, step in ((ours, our_step), (theirs, their_step)):
        # the pass goes to its end, so that none of its batches are still on their way when the time is taken
        _pass(loader, device, _first(WARM_STEPS[device], step))
    return in_turn(lambda: _speed(ours, device, our_step), lambda: _speed(theirs, device, their_step), repeats)


def _our_loader(data: ImageData, device: str) -> DataLoader[Any]:
    recipe = Recipe(batch_size=BATCH, crop_padding=PADDING, flip=True)
    return training_loader(data.train, data, recipe, seed=0, device=device)


def _ordinary_loader(data: ImageData, device: str, workers: int) -> DataLoader[Any]:
    return DataLoader(
        OneByOne(data),
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        pin_memory=device == "cuda",
        persistent_workers=True,
        generator=torch.Generator().manual_seed(0),
    )


def _fresh_step(device: str) -> BareStep:
    torch.manual_seed(0)
    return BareStep(build(baseline("mobilenetv3-small")), device)


def _first(count: int, step: Step) -> Step:
    """``step`` for the first ``count`` batches; the others are dropped."""
    left = count

    def limited(images: Tensor, labels: Tensor) -> None:
        nonlocal left
        if left > 0:
            left -= 1
            step(images, labels)

    return limited


def _pass(loader: DataLoader[Any], device: str, step: Step) -> int:
    """Take ``step`` with each batch of a pass, moved to ``device`` if it is not made there; returns their images."""
    count = 0
    for images, labels in loader:
        # pinned memory is copied while the next batch is awaited
        step(images.to(device, non_blocking=True), labels.to(device, non_blocking=True))
        count += len(images)
    return count


def _speed(loader: DataLoader[Any], device: str, step: Step) -> float:
    """Images per second of one pass."""
    start = now(device)
    count = _pass(loader, device, step)
    return count / (now(device) - start)
