"""Batches of images, each made in a few tensor operations rather than image by image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from evaluators.augment.augmentation import Augmentation, BatchRows, normalise
from evaluators.augment.blending import Pairs, mixup
from evaluators.augment.crops import centre
from evaluators.base.devices import free_memory, to_device, usable_cores
from evaluators.data.batches import BatchDraw, SharedBatch, ShuffledBatches, mixed_seed, own_images, own_rows
from evaluators.data.images import ImageData, Images, ImageSet
from evaluators.data.options import Where
from search_space.base.checks import check_int, plain, refusal, shown
from search_space.base.errors import InvalidRequest

# Share of the free memory of a device that images may take under "auto": networks need the rest.
_DEVICE_SHARE = 0.5

# Most worker processes of a loader of streamed data by default: more seldom pay, and each holds two batches.
_MOST_WORKERS = 8

_REMEDY = "make both for the same data"

Batch = tuple[torch.Tensor, torch.Tensor] | SharedBatch


class ImageBatches(Dataset[Batch]):
    """Images that are asked for whole batches; the arguments are those of `make_loader`.

    ``data.where`` says where images in memory stay: "device" keeps the uint8 images on ``device``; "memory" leaves them
    where they are and moves each batch; "auto" keeps them on the device if they take at most half of its free memory.

    Raises:
        InvalidRequest: the device does not exist here or is too small.
    """

    def __init__(
        self,
        images: Images,
        data: ImageData,
        augmentation: Augmentation | None = None,
        device: torch.device | str | None = None,
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        current = images.images.device if isinstance(images, ImageSet) else torch.device("cpu")
        try:
            self.device = current if device is None else torch.empty(0, device=device).device
            if isinstance(images, ImageSet) and _belongs_on(self.device, images, data.where):
                images = ImageSet(images.images.to(self.device), images.labels.to(self.device))
        # torch asserts rather than raises where it was built without the device.
        except (RuntimeError, AssertionError) as error:
            why = f"cannot hold the images ({plain(error)})"
            raise refusal("device", str(device), why, "give another, such as cpu") from error
        self.images = images
        self.mean = torch.tensor(data.mean, dtype=torch.float32, device=self.device)
        self.std = torch.tensor(data.std, dtype=torch.float32, device=self.device)
        self.augmentation = augmentation
        self.image_size = data.image_size
        self.classes = len(data.classes)
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        """Return the number of images, not of batches."""
        return len(self.images)

    def __getitem__(self, batch: BatchDraw | torch.Tensor | Sequence[int]) -> Batch:
        """Return (images, labels): float32 (batch, channels, height, width), normalised, and int64 (batch,).

        With mixup or CutMix labels are float32 probabilities (batch, classes). Each of several processes gets a
        `SharedBatch`: its rows of the batch that one process would get. Plain positions carry no seed: their images are
        not augmented.
        """
        if not isinstance(batch, BatchDraw):
            images, labels = self._gather(torch.as_tensor(batch, dtype=torch.int64))
            return self._plain(images), labels
        rows, weight = own_rows(len(batch.indices), self.rank, self.world_size)
        images, labels = self._drawn(batch, rows)
        return (images, labels) if self.world_size == 1 else SharedBatch(images, labels, weight)

    def _drawn(self, batch: BatchDraw, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows ``wanted`` of a drawn batch; no image is decoded that they do not need."""
        count = len(batch.indices)
        if self.augmentation is None:
            images, labels = self._gather(batch.indices[wanted])
            return self._plain(images), labels
        # from a generator of its own, so that the other changes are the same with and without mixup or CutMix
        generator = torch.Generator().manual_seed(mixed_seed(batch.seed, 1))
        pairs = self.augmentation.pairs(count, generator, self.image_size)
        rows, places = wanted, wanted
        if pairs is not None and len(wanted) < count:
            rows, places = torch.cat([wanted, pairs.partners[wanted]]).unique(return_inverse=True)
            boxes = None if pairs.boxes is None else pairs.boxes[wanted]
            pairs = Pairs(pairs.shares[wanted], places[len(wanted) :], boxes)
        images, labels = self._gather(batch.indices[rows])
        generator = torch.Generator().manual_seed(batch.seed)
        images = self.augmentation(
            images, generator, size=self.image_size, fill=self.mean * 255, part=BatchRows(rows, count)
        )
        images = normalise(images, self.mean, self.std)
        if pairs is None:
            return images, labels
        return mixup(images, labels, self.classes, pairs, None if len(wanted) == count else places[: len(wanted)])

    def _gather(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # once for images and labels, which lie together
        indices = to_device(indices, self.images.labels.device)
        images, labels = self.images.gather(indices), self.images.labels.index_select(0, indices)
        return to_device(images, self.device), to_device(labels, self.device)

    def _plain(self, images: torch.Tensor) -> torch.Tensor:
        return normalise(centre(images, (self.image_size, self.image_size)), self.mean, self.std)


def make_loader(
    image_set: Images,
    data: ImageData,
    batch_size: int,
    *,
    shuffle: bool,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    loader_class: type[DataLoader[Any]] = DataLoader,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[Any]:
    """Return a loader of [images, labels] batches as `ImageBatches` makes them; its `len` is the number of batches.

    Images in memory are cut, changed and normalised on ``device`` by this process. For streamed ones ``data.workers``
    processes (`default_workers` if None) do so on the CPU, each up to two batches ahead, and the batches stay on the
    CPU (in pinned memory, if there is a CUDA device). The batches are the same either way.

    Args:
        image_set: usually a split of ``data``.
        data: where mean, std, input size and number of classes come from, and where images are kept.
        batch_size: images per batch; the last may be shorter.
        shuffle: in the random order of `ShuffledBatches` (for training), or in the given order, each image once.
        augmentation: random changes; needs ``shuffle``.
        seed: of the shuffling and the augmentation; without ``shuffle`` nothing is random.
        device: where batches are made; where the images are now if None.
        loader_class: a DataLoader class; NNI's one-shot strategies need ``nni.nas.evaluator.pytorch.DataLoader``.
        rank: which of ``world_size`` processes this is. With ``shuffle`` each gets its part of every batch
            (`SharedBatch`), else its part of the images.
        world_size: processes that share out the images.

    Raises:
        InvalidRequest: no images, a batch size or seed out of range, an augmentation without ``shuffle``, images that
            do not fit ``data``, or an unusable device.
    """
    check_int("batch_size", batch_size, 1)
    where, name = "image_set", shown(data.name)
    channels, side = image_set.shape[0], min(image_set.shape[1:])
    if len(image_set) == 0:
        raise InvalidRequest(f"{where}: holds no image; give it at least one")
    if channels != data.channels:
        raise InvalidRequest(f"{where}: has {channels} channels, and {name} has {data.channels}; {_REMEDY}")
    if side < data.image_size:
        raise InvalidRequest(f"{where}: has images of {side} pixels, and {name} needs {data.image_size}; {_REMEDY}")
    if augmentation is not None and not shuffle:
        raise InvalidRequest("augmentation: needs shuffle=True; leave it out where figures are measured")
    sampler: ShuffledBatches | tuple[torch.Tensor, ...]
    if shuffle:
        sampler = ShuffledBatches(len(image_set), batch_size, seed)
    else:
        image_set = own_images(image_set, rank, world_size)
        sampler = torch.arange(len(image_set)).split(batch_size)
    streamed = not isinstance(image_set, ImageSet)
    # worker processes must not touch a CUDA device
    place = torch.device("cpu") if streamed else device
    batches = ImageBatches(image_set, data, augmentation, place, rank=rank, world_size=world_size)
    workers = (default_workers() if data.workers is None else data.workers) if streamed else 0
    return loader_class(
        batches,
        sampler=sampler,
        batch_size=None,
        num_workers=workers,
        # Training and validation images are both run through in every epoch, and starting processes anew would take
        # seconds each time. Those of the loader that waits cost no time (they fetch ahead only within a pass).
        persistent_workers=workers > 0,
        pin_memory=streamed and torch.cuda.is_available(),
        # A DataLoader draws a number at each pass even without workers; from its own generator, it leaves the global
        # stream, which initialises weights and drives dropout, alone.
        generator=torch.Generator().manual_seed(0),
    )


def default_workers() -> int:
    """Return how many processes decode for a loader of streamed images: one per core of this process, at most 8.

    Processes that train together on this machine (what starts them sets ``LOCAL_WORLD_SIZE``) share its cores.
    """
    cores = usable_cores()
    given = os.environ.get("LOCAL_WORLD_SIZE", "")
    together = max(1, int(given)) if given.isdecimal() else 1
    return max(1, min(cores // together, _MOST_WORKERS))


def _belongs_on(device: torch.device, images: ImageSet, where: Where) -> bool:
    """Return whether the images are to be kept on ``device``."""
    if where != "auto" or images.images.device == device:
        return where != "memory"
    free = free_memory(device)
    return free is None or images.images.nbytes <= _DEVICE_SHARE * free
