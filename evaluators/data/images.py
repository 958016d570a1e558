"""The value that travels: labelled images in three splits."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch

from evaluators.base.devices import to_device
from evaluators.data.options import Where
from search_space.base.checks import require, shown
from search_space.base.errors import InvalidRequest

# Below this, in units of the 0..1 pixel scale, a channel counts as constant; dividing by it would only blow up noise.
STD_FLOOR = 1e-3

# Images per histogram pass: the int64 copy that bincount makes stays below some tens of MB at usual sizes.
_CHUNK = 1024


class Images(ABC):
    """Labelled images of one split: `ImageSet` in memory, or `evaluators.data.streaming.StreamedImages` on disk.

    Attributes:
        labels: int64, (n,), index into `ImageData.classes`.
    """

    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""

    @abstractmethod
    def gather(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the images at ``indices``, int64 (k,) within 0..n-1, as uint8 (k, channels, height, width)."""

    def subset(self, indices: torch.Tensor | np.ndarray | Sequence[int]) -> Self:
        """Return the images at ``indices`` (whole numbers in 0..n-1), in that order; those in memory are copied.

        Raises:
            InvalidRequest: ``indices`` is a mask, not one-dimensional, or reaches outside 0..n-1.
        """
        chosen = torch.as_tensor(indices)
        if chosen.numel() == 0:
            chosen = chosen.to(torch.int64)
        # A boolean mask would otherwise be read as the positions 0 and 1.
        if chosen.ndim != 1 or chosen.dtype == torch.bool or chosen.dtype.is_floating_point:
            raise InvalidRequest(f"indices: {_kind(chosen)} is not a list of positions; give whole numbers")
        chosen = chosen.to(device="cpu", dtype=torch.int64)
        if chosen.numel() and (int(chosen.min()) < 0 or int(chosen.max()) >= len(self)):
            raise InvalidRequest(
                f"indices: reach {int(chosen.min())}..{int(chosen.max())} for {len(self)} images; "
                f"stay within 0..{len(self) - 1}"
            )
        return self._subset(chosen)

    def join(self, other: Images) -> Self:
        """Return these images followed by ``other``; InvalidRequest if it is of another kind or shape."""
        if not isinstance(other, type(self)) or other.shape != self.shape:
            raise InvalidRequest(
                f"other: {_kind(other)} of shape {other.shape} cannot follow {_kind(self)} of shape {self.shape}; "
                "load both the same way"
            )
        return self._join(other)

    @abstractmethod
    def _subset(self, indices: torch.Tensor) -> Self: ...

    @abstractmethod
    def _join(self, other: Self) -> Self: ...


@dataclass(frozen=True, eq=False)
class ImageSet(Images):
    """Images and labels of one split, in memory or on a device.

    Args:
        images: uint8, (n, channels, height, width), pixel values 0..255.
        labels: int64, (n,), index into `ImageData.classes`.

    Raises:
        InvalidRequest: a tensor has another type or shape, or the lengths differ.
    """

    images: torch.Tensor
    labels: torch.Tensor

    def __post_init__(self) -> None:
        if not isinstance(self.images, torch.Tensor) or self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise InvalidRequest(
                f"images: {_kind(self.images)} is not a uint8 tensor (n, channels, height, width); convert it first"
            )
        if not isinstance(self.labels, torch.Tensor) or self.labels.dtype != torch.int64 or self.labels.ndim != 1:
            raise InvalidRequest(f"labels: {_kind(self.labels)} is not an int64 tensor (n,); convert it first")
        if len(self.images) != len(self.labels):
            raise InvalidRequest(
                f"labels: has {len(self.labels)} entries for {len(self.images)} images; give one label to each image"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def gather(self, indices: torch.Tensor) -> torch.Tensor:
        # index_select copies whole images; plain indexing goes byte by byte and takes ten times as long
        return self.images.index_select(0, to_device(indices, self.images.device))

    def _subset(self, indices: torch.Tensor) -> Self:
        return replace(self, images=self.gather(indices), labels=self.labels[indices.to(self.labels.device)])

    def _join(self, other: Self) -> Self:
        images, labels = torch.cat([self.images, other.images]), torch.cat([self.labels, other.labels])
        return replace(self, images=images, labels=labels)


@dataclass(frozen=True, eq=False)
class Unopened:
    """A split that lists ``size`` images, unreadable ones included, and that nobody has asked for yet.

    ``open`` returns its images, and the names of unreadable ones that were left out.
    """

    size: int
    open: Callable[[], tuple[Images, tuple[str, ...]]]


class ImageData:
    """A data set: three disjoint splits of square images that share channels, size and classes.

    Args:
        name: what the user asked for.
        classes: class names; label k means classes[k].
        train: what the weights are trained on.
        validation: what choices are made on.
        test: what the final figure is measured on. Given `Unopened`, it is decoded when `test` is first read.
        mean: per channel, over the train split only, in units of the 0..1 pixel scale.
        std: likewise; at least `STD_FLOOR`.
        skipped: unreadable images that were left out, by name; reading `test` adds those of the test split.
        image_size: side in pixels of what networks see, a window of the images. None for all of them.
        where: how `evaluators.data.loaders.make_loader` keeps the images.
        workers: processes that decode streamed images for one loader, as in `DataOptions`.

    Raises:
        InvalidRequest: a split is empty, images are not square or differ between splits or are smaller than
            ``image_size``, a label has no class, or mean and std do not fit the channels.
    """

    def __init__(
        self,
        name: str,
        classes: tuple[str, ...],
        train: Images,
        validation: Images,
        test: Images | Unopened,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        skipped: tuple[str, ...] = (),
        *,
        image_size: int | None = None,
        where: Where = "auto",
        workers: int | None = 0,
    ) -> None:
        self.name = name
        self.classes = classes
        self.train = train
        self.validation = validation
        self._test = test
        self.mean = mean
        self.std = std
        self.skipped = skipped
        self.where = where
        self.workers = workers
        require(len(classes) >= 2, "classes", classes, "leaves nothing to tell apart", "give at least 2 classes")
        self._check_split("train", train)
        self._check_split("validation", validation)
        if isinstance(test, Images):
            self._check_split("test", test)
        for field, values in (("mean", mean), ("std", std)):
            fits = len(values) == self.channels and all(np.isfinite(values))
            require(fits, field, values, f"is not one finite number for each of {self.channels} channels")
        require(min(std) >= STD_FLOOR, "std", std, f"falls below {STD_FLOOR}", "take it from channel_statistics")
        self.image_size = self.stored_size if image_size is None else image_size
        why = f"cannot be cut from images of {self.stored_size} pixels"
        fits = 1 <= self.image_size <= self.stored_size
        require(fits, "image_size", image_size, why, f"stay within 1..{self.stored_size}")

    def _check_split(self, field: str, split: Images) -> None:
        field = f"{field} of {shown(self.name)}"
        if len(split) == 0:
            raise InvalidRequest(f"{field}: holds no image; give it at least one")
        if split.shape[1] != split.shape[2] or min(split.shape) < 1:
            raise InvalidRequest(f"{field}: has images of shape {split.shape}; they must be square")
        if split.shape != self.train.shape:
            raise InvalidRequest(f"{field}: has images of shape {split.shape}, train of {self.train.shape}; align them")
        low, high = int(split.labels.min()), int(split.labels.max())
        if low < 0 or high >= len(self.classes):
            raise InvalidRequest(
                f"{field}: has labels {low}..{high} for {len(self.classes)} classes; "
                f"stay within 0..{len(self.classes) - 1}"
            )

    @property
    def test(self) -> Images:
        """What the final figure is measured on; decoded now if it was not yet."""
        if isinstance(self._test, Unopened):
            images, skipped = self._test.open()
            self._check_split("test", images)
            self._test = images
            self.skipped += skipped
        return self._test

    @property
    def sizes(self) -> dict[str, int]:
        """How many images each split has; does not open the test split, whose unreadable images are still counted."""
        test = self._test.size if isinstance(self._test, Unopened) else len(self._test)
        return {"train": len(self.train), "validation": len(self.validation), "test": test}

    @cached_property
    def fingerprint(self) -> str:
        """How many images there are to train on and to choose by, and a digest of them, by which it shows that they
        have changed between two starts of a command: of classes, labels and pixels. Of pixels that are streamed, the
        statistics stand for them."""
        digest = hashlib.sha256(repr((self.classes, self.train.shape, self.mean, self.std)).encode())
        for split in (self.train, self.validation):
            digest.update(split.labels.cpu().numpy().tobytes())
            if isinstance(split, ImageSet):
                digest.update(split.images.cpu().contiguous().numpy().data)
        return f"{len(self.train)} + {len(self.validation)} images, {digest.hexdigest()[:12]}"

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.train.shape[0]

    @property
    def stored_size(self) -> int:
        """Height and width in pixels of the images as they are kept."""
        return self.train.shape[1]


def channel_statistics(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and (population) standard deviation of each channel, in units of the 0..1 pixel scale.

    Counts how often each pixel value occurs: the sums are exact, and no float copy of the images is made. The deviation
    is at least `STD_FLOOR`.

    Args:
        images: uint8, (n, channels, height, width), n at least 1, on any device.
    """
    channels = images.shape[1]
    counts = np.zeros((channels, 256), dtype=np.int64)
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK].cpu().numpy()
        for channel in range(channels):
            counts[channel] += np.bincount(chunk[:, channel].ravel(), minlength=256)
    values = np.arange(256, dtype=np.float64) / 255.0
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ values
    variance = (shares * (values - mean[:, None]) ** 2).sum(axis=1)
    std = np.maximum(np.sqrt(variance), STD_FLOOR)
    return tuple(mean.tolist()), tuple(std.tolist())


def _kind(value: object) -> str:
    """Return the type and shape of ``value`` for an error message."""
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    return type(value).__name__
