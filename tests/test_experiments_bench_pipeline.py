"""The bench of the input pipeline: the opponent is a real one, and what is timed is what the rows say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import experiments.bench.pipeline as bench
from evaluators.data.images import ImageData, ImageSet
from experiments.bench.measuring import Comparison, in_turn, noise
from search_space import baseline


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "BATCH", 4)
    monkeypatch.setattr(bench, "FEED_BATCHES", {"cpu": 3})
    monkeypatch.setattr(bench, "TRAINED_BATCHES", {"cpu": 3})
    monkeypatch.setattr(bench, "baseline", lambda name: baseline(name, width=0.25))


def test_the_opponent_augments_as_it_should() -> None:
    images = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4).to(torch.uint8)
    split = ImageSet(images, torch.tensor([1, 0]))
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    dataset = bench.OneByOne(ImageData("x", ("a", "b"), split, split, split, mean, std))
    padded = F.pad(images[1], (4,) * 4).float() / 255
    normal = (padded - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    windows = torch.stack([normal[:, y : y + 4, x : x + 4] for y in range(9) for x in range(9)])
    windows = torch.cat([windows, windows.flip(3)])
    torch.manual_seed(0)
    seen = set()
    for _ in range(400):
        image, label = dataset[1]
        assert label == 0
        equal = (windows - image).abs().amax((1, 2, 3)) < 1e-5
        assert equal.any()
        seen.add(int(equal.int().argmax()))
    assert len(dataset) == 2
    assert len(seen) > 80  # of 99: windows that begin at 0 or 8 show the border alone
    assert min(seen) < 81 <= max(seen)  # plain ones and flipped ones


def test_both_sides_bring_the_same_images_in_the_same_form() -> None:
    data = noise(12)
    brought = []
    for loader in (bench._our_loader(data, "cpu"), bench._ordinary_loader(data, "cpu", 1)):
        shapes, labels = [], []
        for images, targets in loader:
            assert (images.dtype, targets.dtype) == (torch.float32, torch.int64)
            shapes.append(tuple(images.shape))
            labels += targets.tolist()
        brought.append((shapes, sorted(labels)))
    assert brought[0] == brought[1] == ([(4, 3, 32, 32)] * 3, sorted(data.train.labels.tolist()))


def test_the_opponent_is_well_set_up() -> None:
    loader = bench._ordinary_loader(noise(4), "cuda", 1)
    assert (loader.num_workers, loader.pin_memory, loader.persistent_workers) == (1, True, True)
    assert not bench._ordinary_loader(noise(4), "cpu", 1).pin_memory


@pytest.mark.parametrize(("cores", "workers"), [(2, 2), (16, 16), (64, 16)])
def test_workers_are_the_cores_but_not_more_than_16(monkeypatch: pytest.MonkeyPatch, cores: int, workers: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    assert bench.worker_count() == workers


class Recorded:
    """Stands in for a loader and for the clock, which goes on by a second at each batch."""

    def __init__(self, batches: int) -> None:
        self.batches = batches
        self.passes = 0
        self.time = 0.0

    def __iter__(self) -> Iterator[list[Tensor]]:
        self.passes += 1
        for _ in range(self.batches):
            self.time += 1
            yield [torch.zeros(4, 3, 2, 2), torch.zeros(4, dtype=torch.int64)]


def test_the_speed_is_that_of_a_whole_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    loader: Any = Recorded(5)
    steps: list[int] = []
    monkeypatch.setattr(bench, "now", lambda device: loader.time)

    def slow(images: Tensor, labels: Tensor) -> None:
        steps.append(len(images))
        loader.time += 3

    assert bench._speed(loader, "cpu", slow) == 20 / (5 * (1 + 3))
    assert steps == [4] * 5


def test_loaders_are_warm_before_the_first_round(monkeypatch: pytest.MonkeyPatch) -> None:
    fast, slow = Recorded(2), Recorded(2)
    seen: list[tuple[int, int]] = []

    def watched(ours: Any, theirs: Any, repeats: int) -> Comparison:
        seen.append((fast.passes, slow.passes))
        return in_turn(ours, theirs, repeats)

    monkeypatch.setattr(bench, "_our_loader", lambda *_: fast)
    monkeypatch.setattr(bench, "_ordinary_loader", lambda *_: slow)
    monkeypatch.setattr(bench, "in_turn", watched)
    monkeypatch.setattr(bench, "now", lambda device: fast.time + 3 * slow.time)
    assert bench.feed_speeds(2, "cpu", 1) == Comparison(ours=4, theirs=4 / 3, ratio=3)
    assert seen == [(1, 1)]
    assert (fast.passes, slow.passes) == (3, 3)


def test_workers_persist_from_pass_to_pass() -> None:
    """Starting them is what a round must not pay for."""
    loader = bench._ordinary_loader(noise(8), "cpu", 1)

    def step(images: Tensor, labels: Tensor) -> None:
        """Leave the batch."""

    assert bench._pass(loader, "cpu", step) == 8
    started = {worker.pid for worker in loader._iterator._workers}
    assert bench._pass(loader, "cpu", step) == 8
    assert {worker.pid for worker in loader._iterator._workers} == started


def test_both_sides_train_the_same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    networks: list[nn.Module] = []
    first: list[dict[str, Tensor]] = []
    build = bench.build

    def keep(architecture: Any) -> nn.Module:
        network = build(architecture)
        networks.append(network)
        first.append({name: value.detach().clone() for name, value in network.named_parameters()})
        return network

    monkeypatch.setattr(bench, "build", keep)
    found = bench.training_speeds(1, "cpu", 1)
    assert found.ratio == found.ours / found.theirs
    assert min(found.ours, found.theirs) > 0
    assert len(networks) == 2
    assert all(torch.equal(a, b) for a, b in zip(first[0].values(), first[1].values(), strict=True))
    for network, before in zip(networks, first, strict=True):
        assert all(not torch.equal(value, before[name]) for name, value in network.named_parameters())
        # one warm step and the three of the round
        assert network.stem.norm.num_batches_tracked == 4  # type: ignore[union-attr]


def test_rows_say_how_many_workers_there_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "worker_count", lambda: 7)
    asked = []

    def found(repeats: int, device: str, workers: int) -> Comparison:
        asked.append((repeats, device, workers))
        return Comparison(ours=10.0 * len(asked), theirs=2.0, ratio=4.0 + len(asked))

    monkeypatch.setattr(bench, "feed_speeds", found)
    monkeypatch.setattr(bench, "training_speeds", found)
    rows = {row.name: (row.value, row.unit) for row in bench.pipeline_rows(3, "cpu")}
    assert asked == [(3, "cpu", 7)] * 2
    assert rows == {
        "retrain: images per second fed, DataLoader of 7 workers": (2, "/s"),
        "retrain: images per second fed, ours": (10, "/s"),
        "retrain: feed alone, ours / DataLoader of 7 workers": (5, "x"),
        "retrain: images per second trained, fed by DataLoader of 7 workers": (2, "/s"),
        "retrain: images per second trained, fed by ours": (20, "/s"),
        "retrain: training, fed by ours / by DataLoader of 7 workers": (6, "x"),
    }


def test_ratios_are_taken_round_by_round() -> None:
    ours, theirs = iter([10.0, 30.0, 8.0]), iter([5.0, 10.0, 8.0])
    assert in_turn(lambda: next(ours), lambda: next(theirs), 3) == Comparison(ours=10, theirs=8, ratio=2)
