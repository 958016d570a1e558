"""Images that stay on disk, and where images are kept otherwise."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from helpers.images import noise_folder
from torch import nn

from evaluators.augment.augmentation import Augmentation
from evaluators.data import loaders as loaders_module
from evaluators.data.images import ImageData, Images, ImageSet
from evaluators.data.load import describe, load_data
from evaluators.data.loaders import ImageBatches, make_loader
from evaluators.data.streaming import StreamedImages
from evaluators.sources.find import find_source
from search_space.base.errors import InvalidRequest

pytestmark = pytest.mark.filterwarnings(
    # these tests count workers, not cores
    "ignore:This DataLoader will create .* worker processes:UserWarning",
    "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning",
)

EVERYTHING = Augmentation(flip=True, resized_crop_area=(0.2, 1), color_jitter=0.4, cutout=3, mixup=0.4)


def fill(root: Path) -> Path:
    noise_folder(root / "train", 20, size=(10, 12))
    noise_folder(root / "test", 5, size=(10, 12), seed=1)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("images"))


def load(root: Path, **options: Any) -> ImageData:
    return load_data(str(root), **({"image_size": 8, "cache": False} | options))


def batches(data: ImageData, part: Images, epochs: tuple[int, ...] = (0,), **options: Any) -> list[list[torch.Tensor]]:
    loader = make_loader(part, data, 7, **({"shuffle": True, "augmentation": EVERYTHING, "seed": 3} | options))
    found = []
    for epoch in epochs:
        if options.get("shuffle", True):
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        found += [list(batch) for batch in loader]
    return found


def assert_equal(first: list[list[torch.Tensor]], second: list[list[torch.Tensor]]) -> None:
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_streamed_batches_are_those_from_memory_whatever_the_workers(root: Path) -> None:
    held = load(root, where="memory", stored_size=10)
    expected = batches(held, held.train, (0, 1))
    for workers in (0, 1, 3):
        streamed = load(root, where="stream", workers=workers, stored_size=10)
        assert isinstance(streamed.train, StreamedImages)
        # mean and deviation are equal as there are fewer images than are drawn for them
        assert (streamed.mean, streamed.std) == (held.mean, held.std)
        assert_equal(batches(streamed, streamed.train, (0, 1)), expected)
    plain = batches(held, held.test, shuffle=False, augmentation=None)
    assert_equal(batches(streamed, streamed.test, shuffle=False, augmentation=None), plain)


def test_workers_do_the_decoding_and_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load(root, where="stream", workers=2)
    monkeypatch.setattr(StreamedImages, "gather", _only_in_a_worker)
    loader = make_loader(data.train, data, 7, shuffle=True)
    assert sum(len(labels) for _, labels in loader) == len(data.train)
    before = multiprocessing.active_children()
    assert len(before) == 2
    del loader
    assert not multiprocessing.active_children()


_GATHER = StreamedImages.gather


def _only_in_a_worker(self: StreamedImages, indices: torch.Tensor) -> torch.Tensor:
    assert torch.utils.data.get_worker_info() is not None
    return _GATHER(self, indices)


def test_auto_streams_what_exceeds_the_limit(root: Path) -> None:
    # 75 images of 3 * 8 * 8 bytes
    size = 75 * 3 * 64 / 2**30
    assert isinstance(load(root, memory_limit=size).train, ImageSet)
    streamed = load(root, memory_limit=0.99 * size)
    assert isinstance(streamed.train, StreamedImages)
    assert isinstance(streamed.test, StreamedImages)
    assert describe(streamed).endswith("train 48, validation 12, test 15; streamed from disk")
    assert isinstance(load(root, memory_limit=0, where="memory").train, ImageSet)


def test_subsets_and_joined_sets(root: Path) -> None:
    held, streamed = load(root, where="memory"), load(root, where="stream", workers=0)
    for choose in (lambda part: part.subset([5, 2, 2]), lambda part: part.subset(torch.tensor([7, 1])).subset([1])):
        assert torch.equal(_pixels(choose(streamed.train)), _pixels(choose(held.train)))
        assert torch.equal(choose(streamed.train).labels, choose(held.train).labels)
    both = streamed.train.join(streamed.validation)
    assert torch.equal(_pixels(both), _pixels(held.train.join(held.validation)))
    assert torch.equal(both.labels, torch.cat([held.train.labels, held.validation.labels]))
    assert torch.equal(_pixels(both.subset([50, 3])), _pixels(both)[[50, 3]])
    with pytest.raises(InvalidRequest, match="indices: reach"):
        streamed.train.subset([48])
    with pytest.raises(InvalidRequest, match="cannot follow"):
        streamed.train.join(held.train)
    with pytest.raises(InvalidRequest, match="cannot follow"):
        held.train.join(streamed.train)


def _pixels(images: Images) -> torch.Tensor:
    return images.gather(torch.arange(len(images)))


def test_statistics_of_a_sample(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluators.data.load._SAMPLE", 12)
    whole, first, again = (load(root, where=where) for where in ("memory", "stream", "stream"))
    other = load(root, where="stream", seed=1)
    assert first.mean == again.mean != whole.mean
    assert other.mean != first.mean
    np.testing.assert_allclose(first.mean, whole.mean, atol=0.03)


def test_damaged_image_is_named_in_one_line(tmp_path: Path) -> None:
    root = fill(tmp_path / "x")
    bad = root / "train" / "fox" / "004.png"
    bad.write_bytes(bad.read_bytes()[:60])
    for workers in (0, 2):
        data = load_data(str(root), image_size=8, where="memory", cache=False, on_corrupt="skip")
        source = find_source(str(root)).train
        part = StreamedImages(source.pictures, torch.from_numpy(source.labels), 3, 8, "x")
        streamed = ImageData("x", data.classes, part, part, part, data.mean, data.std, where="stream", workers=workers)
        loader = make_loader(part, streamed, 8, shuffle=False)
        with pytest.raises(
            InvalidRequest, match=r"^data.name: 'x' has the image '.*004\.png', which cannot be read \(.*\); repair or"
        ) as error:
            for _ in loader:
                pass
        assert "\n" not in str(error.value)
        if loader._iterator is not None:
            # the error refers to it in a circle, and what is collected as part of one waits for its workers in vain
            loader._iterator._shutdown_workers()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"where": "gpu"}, "data.where: 'gpu' is unknown; known are auto, memory, device, stream"),
        ({"memory_limit": -1}, "data.memory_limit: -1 must be a number of at least 0"),
        ({"memory_limit": float("nan")}, "data.memory_limit: nan"),
        ({"workers": -1}, "data.workers: -1"),
        ({"stored_size": 7}, "data.stored_size: 7 is below image_size 8; raise it"),
        ({"where": "stream", "on_corrupt": "skip"}, "data.on_corrupt: 'skip' needs images held in memory"),
    ],
)
def test_refuses(root: Path, options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text) as error:
        load(root, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("where", ["memory", "stream"])
def test_data_can_be_sent_to_another_process(root: Path, where: Any) -> None:
    data = load(root, where=where, workers=0)
    copy = pickle.loads(pickle.dumps(data))
    # the test split is opened there
    assert_equal(
        batches(copy, copy.test, shuffle=False, augmentation=None),
        batches(data, data.test, shuffle=False, augmentation=None),
    )
    assert_equal(batches(copy, copy.train), batches(data, data.train))


# --- larger images than networks see ---


def test_stored_size(root: Path) -> None:
    data = load(root, stored_size=10)
    assert (data.image_size, data.stored_size, data.train.shape) == (8, 10, (3, 10, 10))
    assert "3x8x8 of 10x10" in describe(data)
    images, labels = next(iter(make_loader(data.train, data, 5, shuffle=False)))
    raw = data.train.gather(torch.arange(5))[:, :, 1:9, 1:9]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.mean, data.std))
    torch.testing.assert_close(images, (raw / 255 - mean) / std)
    assert torch.equal(labels, data.train.labels[:5])
    crops = next(iter(make_loader(data.train, data, 5, shuffle=True, augmentation=Augmentation(1))))[0]
    assert crops.shape == (5, 3, 8, 8)
    flips = next(iter(make_loader(data.train, data, 5, shuffle=True, augmentation=Augmentation(flip=True))))[0]
    assert flips.shape == (5, 3, 8, 8)


def test_image_set_that_is_too_small(root: Path) -> None:
    data, other = load(root, stored_size=10), load(root, image_size=4)
    with pytest.raises(InvalidRequest, match=r"image_set: has images of 4 pixels, and '.*' needs 8"):
        make_loader(other.train, data, 5, shuffle=False)


# --- where images in memory are kept ---


def test_where_images_are_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load(root)
    assert isinstance(data.train, ImageSet)
    nbytes = data.train.images.nbytes

    def kept(where: Any, free: int | None) -> str:
        monkeypatch.setattr(loaders_module, "free_memory", lambda device: free)
        # "meta" stands for a device that is not this one
        data.where = where
        made = ImageBatches(data.train, data, device="meta")
        assert made.device.type == "meta"
        assert isinstance(made.images, ImageSet)
        return made.images.images.device.type

    assert kept("auto", None) == "meta"
    assert kept("auto", 2 * nbytes) == "meta"
    assert kept("auto", 2 * nbytes - 1) == "cpu"
    assert kept("device", 0) == "meta"
    assert kept("memory", None) == "cpu"
    # and batches are made on the device all the same
    batch = ImageBatches(data.train, data, device="meta")[torch.tensor([1, 2])]
    assert {tensor.device.type for tensor in batch} == {"meta"}


@pytest.mark.parametrize("where", ["auto", "memory", "device"])
def test_place_does_not_change_batches(root: Path, where: Any) -> None:
    plain = load(root)
    assert_equal(batches(load(root, where=where), plain.train, device="cpu"), batches(plain, plain.train))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_batches(root: Path) -> None:
    expected = batches(load(root), load(root).train)
    for where in ("auto", "memory", "device"):
        data = load(root, where=where)
        for (images, labels), (wanted, targets) in zip(batches(data, data.train, device="cuda"), expected, strict=True):
            assert images.is_cuda
            torch.testing.assert_close(images.cpu(), wanted, rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(labels.cpu(), targets)


# --- mixup and Lightning ---


def test_mixup_in_a_loader(root: Path) -> None:
    data = load(root)
    loader = make_loader(data.train, data, 8, shuffle=True, augmentation=Augmentation(1, mixup=1.0))
    plain = make_loader(data.train, data, 8, shuffle=True, augmentation=Augmentation(1))
    mixtures = []
    for (images, probabilities), (unmixed, labels) in zip(loader, plain, strict=True):
        assert (probabilities.shape, probabilities.dtype) == ((len(images), 3), torch.float32)
        torch.testing.assert_close(probabilities.sum(1), torch.ones(len(images)))
        # The other changes are the same: the mean of the batch in pixels is that of one weight per unmixed image,
        # and the weight of each class is that of its images.
        weights = torch.linalg.lstsq(unmixed.flatten(1).T, images.flatten(1).T).solution.T
        torch.testing.assert_close(weights @ torch.eye(3)[labels], probabilities, rtol=1e-3, atol=1e-3)
        loss = nn.functional.cross_entropy(torch.zeros(len(images), 3), probabilities)
        torch.testing.assert_close(loss, torch.tensor(3.0).log())
        mixtures.append(weights)
    # each batch is mixed in its own way, and the same way again for the same seed, epoch and batch
    assert not any(
        torch.allclose(one, mixtures[0], atol=0.01) for one in mixtures[1:] if one.shape == mixtures[0].shape
    )
    loader.sampler.set_epoch(0)  # type: ignore[attr-defined]
    again, first = list(loader), make_loader(data.train, data, 8, shuffle=True, augmentation=Augmentation(1, mixup=1.0))
    assert_equal([list(batch) for batch in again], [list(batch) for batch in first])


class Recorder(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 64, 3)
        self.seen: list[torch.Tensor] = []

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        self.seen.append(batch[0])
        return nn.functional.cross_entropy(self.layer(batch[0].flatten(1)), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


def test_lightning_sees_the_same_batches_from_workers(root: Path, tmp_path: Path) -> None:
    seen = []
    for options in ({"where": "memory"}, {"where": "stream", "workers": 2}):
        data, module = load(root, **options), Recorder()
        trainer = pl.Trainer(
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(module, make_loader(data.train, data, 7, shuffle=True, augmentation=EVERYTHING))
        seen.append(module.seen)
    assert len(seen[0]) == 14
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))
