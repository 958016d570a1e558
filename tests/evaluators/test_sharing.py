"""The part of each batch that one of several processes makes, and the part of the images that it measures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers.images import noise_folder
from helpers.spaces import small_images

from evaluators.augment.augmentation import Augmentation
from evaluators.data.batches import SharedBatch, own_images, own_rows
from evaluators.data.images import ImageData
from evaluators.data.load import load_data
from evaluators.data.loaders import make_loader
from evaluators.data.streaming import StreamedImages

AUGMENTATIONS = {
    "none": None,
    "crop, flip, cutout": Augmentation(crop_padding=2, flip=True, cutout=3),
    "boxes, jitter": Augmentation(resized_crop_area=(0.2, 1), flip=True, color_jitter=0.4),
    "mixup": Augmentation(crop_padding=1, mixup=0.4),
    "cutmix, erasing": Augmentation(flip=True, erasing=0.7, cutmix=1.0),
    "rand_augment": Augmentation(rand_augment=(2, 9)),
    "all": Augmentation(resized_crop_area=(0.2, 1), flip=True, color_jitter=0.4, cutout=3, mixup=0.4),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for seed, split in enumerate(("train", "test")):
        noise_folder(folder / split, 12, seed=seed)
    return folder


def parts(data: ImageData, augmentation: Augmentation | None, rank: int, world_size: int) -> Iterator[SharedBatch]:
    yield from make_loader(
        data.train, data, 8, shuffle=True, augmentation=augmentation, seed=3, rank=rank, world_size=world_size
    )


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("where", ["memory", "stream"])
@pytest.mark.parametrize("world_size", [2, 3])
def test_the_parts_of_all_processes_are_the_batch_of_one(root: Path, name: str, where: str, world_size: int) -> None:
    data = load_data(str(root), image_size=8, stored_size=10, cache=False, where=where, workers=0)  # type: ignore[arg-type]
    # 28 images: batches of 8, 8, 8 and 4, of which the last is too small for three processes
    whole = list(make_loader(data.train, data, 8, shuffle=True, augmentation=AUGMENTATIONS[name], seed=3))
    shared = [list(parts(data, AUGMENTATIONS[name], rank, world_size)) for rank in range(world_size)]
    assert len(whole) == 4
    for number, (images, labels) in enumerate(whole):
        own = [batches[number] for batches in shared]
        assert sum(part.weight for part in own) == pytest.approx(world_size)
        if len(labels) < 2 * world_size:
            assert all(torch.equal(part.images, images) and torch.equal(part.labels, labels) for part in own)
            continue
        # the filters of resized boxes are matrix products, whose rounding may depend on how many there are
        torch.testing.assert_close(torch.cat([part.images for part in own]), images, rtol=1e-5, atol=1e-5)
        assert torch.equal(torch.cat([part.labels for part in own]), labels)


@pytest.mark.parametrize(("name", "most"), [("boxes, jitter", 14), ("mixup", 24)])
def test_a_process_decodes_what_its_part_needs(
    root: Path, name: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_data(str(root), image_size=8, stored_size=10, cache=False, where="stream", workers=0)
    decoded: list[int] = []
    gather = StreamedImages.gather

    def counted(self: StreamedImages, indices: torch.Tensor) -> torch.Tensor:
        decoded.extend(indices.tolist())
        return gather(self, indices)

    monkeypatch.setattr(StreamedImages, "gather", counted)
    made = sum(len(part.labels) for part in parts(data, AUGMENTATIONS[name], 0, 2))
    assert made == 14
    assert made <= len(decoded) <= most, "half of the images, and with mixup their partners"
    assert len(decoded) == len(set(decoded)), "none twice"


def test_parts_to_measure_are_all_images_once() -> None:
    images = small_images(33).train
    found = [own_images(images, rank, 4) for rank in range(4)]
    assert [len(part) for part in found] == [8, 8, 8, 9]
    assert torch.equal(torch.cat([part.gather(torch.arange(len(part))) for part in found]), images.images)
    few = images.subset([0, 1, 2])
    assert own_images(few, 1, 4) is few, "a process without any image would wait for ever"


def test_every_process_has_at_least_two_rows() -> None:
    for count in range(2, 40):
        for world_size in range(1, 7):
            found = [own_rows(count, rank, world_size) for rank in range(world_size)]
            assert min(len(rows) for rows, _ in found) >= 2
            assert sum(weight for _, weight in found) == pytest.approx(world_size)
