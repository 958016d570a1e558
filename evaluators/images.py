"""The value that travels: decoded images with their labels, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from search_space.errors import InvalidRequest

# Below this, in units of the 0..1 pixel scale, a channel counts as constant; dividing by it would only blow up noise.
STD_FLOOR = 1e-3

# Images per histogram pass: the int64 copy that bincount makes stays below some tens of MB at usual sizes.
_CHUNK = 1024


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images and labels of one split.

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
                f"images={_kind(self.images)} is not a uint8 tensor (n, channels, height, width): convert it first"
            )
        if not isinstance(self.labels, torch.Tensor) or self.labels.dtype != torch.int64 or self.labels.ndim != 1:
            raise InvalidRequest(f"labels={_kind(self.labels)} is not an int64 tensor (n,): convert it first")
        if len(self.images) != len(self.labels):
            raise InvalidRequest(
                f"labels has {len(self.labels)} entries for {len(self.images)} images: give one label to each image"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: torch.Tensor | np.ndarray | Sequence[int]) -> ImageSet:
        """Return a copy of the images at `indices` (whole numbers in 0..n-1), in that order.

        Raises:
            InvalidRequest: `indices` is a mask, not one-dimensional, or reaches outside 0..n-1.
        """
        chosen = torch.as_tensor(indices)
        if chosen.numel() == 0:
            chosen = chosen.to(torch.int64)
        # A boolean mask would otherwise be read as the positions 0 and 1.
        if chosen.ndim != 1 or chosen.dtype == torch.bool or chosen.dtype.is_floating_point:
            raise InvalidRequest(f"indices={_kind(chosen)} is not a list of positions: give whole numbers")
        chosen = chosen.to(device=self.images.device, dtype=torch.int64)
        if chosen.numel() and (int(chosen.min()) < 0 or int(chosen.max()) >= len(self)):
            raise InvalidRequest(
                f"indices reach {int(chosen.min())}..{int(chosen.max())} for {len(self)} images: "
                f"stay within 0..{len(self) - 1}"
            )
        return ImageSet(self.images[chosen], self.labels[chosen.to(self.labels.device)])


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set in memory: three disjoint splits of square images that share channels, size and classes.

    Args:
        name: what the user asked for.
        classes: class names; label k means classes[k].
        train: what the weights are trained on.
        validation: what choices are made on.
        test: what the final figure is measured on.
        mean: per channel, over the train split only, in units of the 0..1 pixel scale.
        std: likewise; at least `STD_FLOOR`.
        skipped: unreadable images that were left out, by name.

    Raises:
        InvalidRequest: a split is empty, images are not square or differ between splits, a label has no class, or
            mean and std do not fit the channels.
    """

    name: str
    classes: tuple[str, ...]
    train: ImageSet
    validation: ImageSet
    test: ImageSet
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise InvalidRequest(f"classes={self.classes!r} leaves nothing to tell apart: give at least 2 classes")
        for field, split in self.splits.items():
            self._check_split(field, split)
        for field, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels or not all(np.isfinite(values)):
                raise InvalidRequest(
                    f"{field}={values!r} is not one finite number for each of {self.channels} channels"
                )
        if min(self.std) < STD_FLOOR:
            raise InvalidRequest(f"std={self.std!r} falls below {STD_FLOOR}: take it from channel_statistics")

    def _check_split(self, field: str, split: ImageSet) -> None:
        if len(split) == 0:
            raise InvalidRequest(f"{field} of {self.name!r} holds no image: give it at least one")
        shape = tuple(split.images.shape[1:])
        if shape[1] != shape[2] or shape[0] < 1 or shape[1] < 1:
            raise InvalidRequest(f"{field} of {self.name!r} has images of shape {shape}: they must be square")
        expected = tuple(self.train.images.shape[1:])
        if shape != expected:
            raise InvalidRequest(
                f"{field} of {self.name!r} has images of shape {shape}, train of {expected}: align them"
            )
        low, high = int(split.labels.min()), int(split.labels.max())
        if low < 0 or high >= len(self.classes):
            raise InvalidRequest(
                f"{field} of {self.name!r} has labels {low}..{high} for {len(self.classes)} classes: "
                f"stay within 0..{len(self.classes) - 1}"
            )

    @property
    def splits(self) -> dict[str, ImageSet]:
        """The three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.train.images.shape[1]

    @property
    def image_size(self) -> int:
        """Height and width of every image in pixels."""
        return self.train.images.shape[2]


def channel_statistics(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, in units of the 0..1 pixel scale.

    Counts how often each of the 256 pixel values occurs, so that no float copy of the images is made and the sums are
    exact. The deviation is that of the population and at least `STD_FLOOR`.

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
    """Return the type and shape of `value` for an error message."""
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    return type(value).__name__
