"""Batches: their order, their random changes, and how Lightning and NNI drive them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from helpers.images import numbered_data
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader

from evaluators.augment.augmentation import Augmentation, normalise
from evaluators.base.devices import free_memory
from evaluators.data.batches import ShuffledBatches
from evaluators.data.images import ImageData, ImageSet
from evaluators.data.loaders import default_workers, make_loader
from evaluators.data.streaming import StreamedImages
from evaluators.sources.base import ChosenPictures
from search_space.base.errors import InvalidRequest

# Lightning advises workers for a loader without any, though images in memory need none; and it still calls a torch
# function that newer versions of torch have renamed.
lightning_remarks = pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers:UserWarning",
    "ignore:The 'val_dataloader' does not have many workers:UserWarning",
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning",
)


def order(loader: Iterable[Any]) -> list[list[int]]:
    return [labels.tolist() for _, labels in loader]


def flat(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]


# --- which images, in which order ---


@settings(max_examples=60)
@given(images=st.integers(1, 200), batch_size=st.integers(1, 50), seed=st.integers(0, 2**32 - 1))
def test_shuffled_batches_cover_each_image_once(images: int, batch_size: int, seed: int) -> None:
    sampler = ShuffledBatches(images, batch_size, seed)
    drawn = [draw.indices.tolist() for draw in sampler]
    assert len(drawn) == len(sampler)
    lonely = images > 1 and batch_size > 1 and images % batch_size == 1
    assert len(set(flat(drawn))) == len(flat(drawn)) == images - lonely
    assert set(flat(drawn)) <= set(range(images))
    assert all(len(batch) == batch_size for batch in drawn[:-1])
    assert batch_size == 1 or images == 1 or len(drawn[-1]) > 1


def test_ordered_loader_gives_every_image_in_order() -> None:
    data = numbered_data(21)
    loader = make_loader(data.test, data, 10, shuffle=False)
    assert len(loader) == 3
    assert order(loader) == order(loader) == [list(range(10)), list(range(10, 20)), [20]]


def test_image_left_out_changes() -> None:
    sampler = ShuffledBatches(21, 10)
    assert len(sampler) == 2
    left = {(set(range(21)) - {i for draw in sampler for i in draw.indices.tolist()}).pop() for _ in range(40)}
    assert len(left) > 10


def test_order_follows_seed_epoch_and_restart_only() -> None:
    data = numbered_data()

    def run(seed: int, epochs: list[int]) -> list[list[list[int]]]:
        loader = make_loader(data.train, data, 4, shuffle=True, seed=seed)
        passes = []
        for epoch in epochs:
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
            passes += [order(loader), order(loader)]
        return passes

    whole = run(0, [0, 1, 2])
    assert len({str(one) for one in whole}) == 6
    # Resuming at epoch 2, in a new process say, gives what the whole run saw there.
    assert run(0, [2]) == whole[4:]
    assert run(1, [2]) != whole[4:]


def test_unused_iterators_do_not_count() -> None:
    data = numbered_data()
    loader, other = (make_loader(data.train, data, 4, shuffle=True) for _ in range(2))
    iter(loader)
    iter(loader)
    assert order(loader) == order(other)


# --- what is in a batch ---


def test_batches_are_normalised() -> None:
    data = numbered_data()
    images, labels = next(iter(make_loader(data.train, data, 5, shuffle=True)))
    assert images.dtype == torch.float32
    assert images.shape == (5, 1, 4, 4)
    assert torch.equal(images, normalise(data.train.images[labels], data.mean, data.std))
    everything = torch.cat([x for x, _ in make_loader(data.train, data, 8, shuffle=False)])
    assert abs(float(everything.mean())) < 1e-5
    assert abs(float(everything.std(correction=0)) - 1) < 1e-5


def test_augmentation_follows_seed_epoch_and_batch() -> None:
    data = numbered_data()

    def run(epoch: int, seed: int = 0) -> list[torch.Tensor]:
        loader = make_loader(data.train, data, 5, shuffle=True, seed=seed, augmentation=Augmentation(2, True))
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        return [images for images, _ in loader]

    first = run(3)
    assert all(torch.equal(a, b) for a, b in zip(first, run(3), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, run(4), strict=True))
    plain = make_loader(data.train, data, 5, shuffle=True)
    plain.sampler.set_epoch(3)  # type: ignore[attr-defined]
    # The order is that of the loader without augmentation; the pixels are not.
    assert not any(torch.equal(a, b) for a, (b, _) in zip(first, plain, strict=True))
    assert [len(a) for a in first] == [len(b) for b, _ in plain]


def test_batches_of_one_epoch_are_changed_differently() -> None:
    data = numbered_data(20)
    same = ImageSet(torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4).repeat(20, 1, 1, 1), data.train.labels)
    batches = [x for x, _ in make_loader(same, data, 5, shuffle=True, augmentation=Augmentation(2, True))]
    assert not any(torch.equal(a, b) for k, a in enumerate(batches) for b in batches[:k])


def test_plain_indices_give_plain_images() -> None:
    data = numbered_data()
    batches = make_loader(data.train, data, 5, shuffle=True, augmentation=Augmentation(2)).dataset
    for indices in ([3, 1], torch.tensor([3, 1])):
        images, labels = batches[indices]
        assert labels.tolist() == [3, 1]
        assert torch.equal(images, normalise(data.train.images[[3, 1]], data.mean, data.std))


def test_global_random_stream_is_left_alone() -> None:
    data = numbered_data()
    loader = make_loader(data.train, data, 5, shuffle=True, augmentation=Augmentation(1, True))
    state = torch.get_rng_state()
    order(loader)
    assert torch.equal(torch.get_rng_state(), state)


def test_device_is_where_batches_are_made() -> None:
    data = numbered_data()
    images, labels = next(iter(make_loader(data.train, data, 5, shuffle=False, device="cpu")))
    assert images.device.type == labels.device.type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_batches() -> None:
    data = numbered_data()
    options: dict[str, Any] = {"shuffle": True, "augmentation": Augmentation(2, True)}
    here = make_loader(data.train, data, 5, **options)
    there = make_loader(data.train, data, 5, device="cuda", **options)
    for (images, labels), (cuda_images, cuda_labels) in zip(here, there, strict=True):
        assert cuda_images.is_cuda
        assert torch.equal(cuda_labels.cpu(), labels)
        torch.testing.assert_close(cuda_images.cpu(), images)


def test_memory_that_torch_keeps_for_itself_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda:1")
    for name, value in (("mem_get_info", (100, 1000)), ("memory_reserved", 70), ("memory_allocated", 30)):
        monkeypatch.setattr(torch.cuda, name, lambda asked, value=value: value if asked == device else None)
    assert free_memory(device) == 140
    assert free_memory(torch.device("cpu")) is None


# no worker is ever started here
@pytest.mark.filterwarnings("ignore:This DataLoader will create .* worker processes:UserWarning")
@pytest.mark.parametrize(
    ("cores", "together", "expected"),
    [(6, None, 6), (64, None, 8), (6, "1", 6), (6, "4", 1), (16, "4", 4), (64, "2", 8), (2, "8", 1), (6, "?", 6)],
)
def test_processes_that_train_together_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, together: str | None, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if together is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", together)
    assert default_workers() == expected
    data = numbered_data()
    part = StreamedImages(ChosenPictures([]), torch.arange(21), 1, 4, "toy")
    streamed = ImageData("toy", data.classes, part, part, part, data.mean, data.std, workers=None)
    assert make_loader(part, streamed, 4, shuffle=True).num_workers == expected
    streamed.workers = 3
    assert make_loader(part, streamed, 4, shuffle=True).num_workers == 3


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"batch_size": 0}, "batch_size: 0"),
        ({"batch_size": 2.5}, "batch_size: 2.5"),
        ({"seed": -1}, "seed: -1"),
        ({"shuffle": False, "augmentation": Augmentation(1)}, "augmentation: needs shuffle=True"),
        ({"device": "moon"}, "device: 'moon' cannot hold the images"),
        (
            {"image_set": ImageSet(torch.zeros(0, 1, 4, 4, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))},
            "no image",
        ),
        ({"image_set": numbered_data(channels=3).train}, "image_set: has 3 channels, and 'toy' has 1"),
    ],
)
def test_refuses(changes: dict[str, Any], text: str) -> None:
    data = numbered_data()
    arguments: dict[str, Any] = {"image_set": data.train, "data": data, "batch_size": 4, "shuffle": True} | changes
    with pytest.raises(InvalidRequest, match=text) as error:
        make_loader(**arguments)
    assert "\n" not in str(error.value)


# --- Lightning and NNI ---


class Recorder(pl.LightningModule):
    """Notes the labels of every batch, by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 21)
        self.seen: dict[int, list[Any]] = {}

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        batches = batch if isinstance(batch, dict) else {"only": batch}
        note = {name: part[1].tolist() for name, part in batches.items() if part is not None}
        self.seen.setdefault(self.current_epoch, []).append(note if isinstance(batch, dict) else note["only"])
        images, labels = next(iter(batches.values()))
        return nn.functional.cross_entropy(self.layer(images.flatten(1)), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


class ValidatingRecorder(Recorder):
    """Notes the labels of the validation batches too."""

    def __init__(self) -> None:
        super().__init__()
        self.validated: list[int] = []

    def validation_step(self, batch: Any, _: int) -> None:
        self.validated += batch[1].tolist()


def trainer(epochs: int, folder: Path, **options: Any) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **options,
    )


def expected(data: ImageData, epochs: Iterable[int], batch_size: int = 4, seed: int = 0) -> dict[int, list[list[int]]]:
    sampler = ShuffledBatches(len(data.train), batch_size, seed)
    found = {}
    for epoch in epochs:
        sampler.set_epoch(epoch)
        found[epoch] = [draw.indices.tolist() for draw in sampler]
    return found


@lightning_remarks
def test_lightning_sets_the_epoch(tmp_path: Path) -> None:
    data, module = numbered_data(), ValidatingRecorder()
    validation = make_loader(data.validation, data, 8, shuffle=False)
    trainer(3, tmp_path, num_sanity_val_steps=0).fit(module, make_loader(data.train, data, 4, shuffle=True), validation)
    assert module.seen == expected(data, range(3))
    assert module.validated == list(range(21)) * 3


@lightning_remarks
def test_resumed_run_sees_the_same_batches(tmp_path: Path) -> None:
    data = numbered_data()
    first = trainer(2, tmp_path)
    first.fit(Recorder(), make_loader(data.train, data, 4, shuffle=True))
    first.save_checkpoint(tmp_path / "two.ckpt")
    module = Recorder()
    resumed = trainer(4, tmp_path)
    resumed.fit(module, make_loader(data.train, data, 4, shuffle=True), ckpt_path=tmp_path / "two.ckpt")
    assert module.seen == expected(data, [2, 3])


@lightning_remarks
def test_two_loaders_side_by_side(tmp_path: Path) -> None:
    data, module = numbered_data(), Recorder()
    loaders = {
        "train": make_loader(data.train, data, 4, shuffle=True),
        "val": make_loader(data.validation, data, 10, shuffle=True, seed=1),
    }
    trainer(2, tmp_path).fit(module, loaders)
    for epoch, batches in expected(data, range(2)).items():
        assert [step["train"] for step in module.seen[epoch]] == batches
        # The shorter one is cycled, each time in a new order; by design two batches make one of its passes.
        short = [step["val"] for step in module.seen[epoch]]
        sampler = ShuffledBatches(21, 10, 1)
        sampler.set_epoch(epoch)
        assert short == [draw.indices.tolist() for _ in range(3) for draw in sampler][: len(batches)]
        assert short[0] != short[2]


@lightning_remarks
def test_loader_class_of_nni(tmp_path: Path) -> None:
    evaluator = pytest.importorskip("nni.nas.evaluator.pytorch")
    data, module = numbered_data(), Recorder()
    loader = make_loader(data.train, data, 4, shuffle=True, loader_class=evaluator.DataLoader)
    assert isinstance(loader, DataLoader)
    assert len(loader) == 5
    trainer(2, tmp_path).fit(module, loader)
    assert module.seen == expected(data, range(2))
