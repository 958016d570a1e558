"""From listed images to images that batches can be made of: decoded now, or left on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from evaluators.data.cache import decode_cached
from evaluators.data.decode import Failure, decode
from evaluators.data.images import Images, ImageSet, channel_statistics
from evaluators.data.streaming import StreamedImages
from evaluators.sources.base import Listing
from search_space.base.errors import InvalidRequest

# Training images from which mean and standard deviation of streamed data are estimated.
_SAMPLE = 1024


@dataclass(frozen=True, eq=False)
class Part:
    """The images of one listing.

    Args:
        images: those that could be read.
        readable: bool, one for each listed image.
    """

    images: Images
    readable: np.ndarray

    def take(self, indices: np.ndarray) -> Images:
        """Return the readable ones among the listed images at `indices`."""
        places = np.cumsum(self.readable) - 1
        return self.images.subset(places[indices[self.readable[indices]]])


@dataclass(frozen=True)
class Reader:
    """How the images of one data set are read.

    Args:
        name: what the user asked for.
        size: side of the images in pixels.
        channels: 1 or 3.
        stream: leave them on disk.
        skip: leave out what cannot be read; not for streams, which find out too late.
        cache: look for decoded pixels in the cache, and keep them there.
    """

    name: str
    size: int
    channels: int
    stream: bool = False
    skip: bool = False
    cache: bool = True

    def read(self, listings: Sequence[Listing]) -> tuple[list[Part], tuple[str, ...]]:
        """Return the images of each listing, and the names of those left out.

        Raises:
            InvalidRequest: one cannot be read and `skip` is not set, or they do not fit in memory.
        """
        if self.stream:
            return [self._streamed(listing) for listing in listings], ()
        if self.cache:
            pixels, failures = decode_cached(listings, self.size, self.channels)
        else:
            arrays, failures = decode(listings, self.size, self.channels)
            pixels = [torch.from_numpy(array) for array in arrays]
        if failures and not self.skip:
            raise InvalidRequest(_corrupt_message(self.name, failures, sum(map(len, listings))))
        parts = [
            _readable(images, listing.labels, [failure.index for failure in failures if failure.split == number])
            for number, (images, listing) in enumerate(zip(pixels, listings, strict=True))
        ]
        return parts, tuple(failure.name for failure in failures)

    def open_test(self, listing: Listing) -> tuple[Images, tuple[str, ...]]:
        """Return the images of the test split and the names of those left out; as `read`."""
        (part,), skipped = self.read([listing])
        if len(part.images) == 0:
            raise InvalidRequest(f"data={self.name!r}: no image of test can be read: repair the files")
        return part.images, skipped

    def statistics(self, train: Images, seed: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return `channel_statistics` of the training images, or of 1024 of them, drawn by `seed`, of a stream."""
        if isinstance(train, ImageSet):
            return channel_statistics(train.images)
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(train), generator=generator)[:_SAMPLE]
        return channel_statistics(train.gather(chosen.sort().values))

    def _streamed(self, listing: Listing) -> Part:
        labels = torch.from_numpy(listing.labels)
        images = StreamedImages(listing.pictures, labels, self.channels, self.size, self.name)
        return Part(images, np.ones(len(listing), dtype=bool))


def _readable(pixels: torch.Tensor, labels: np.ndarray, failed: Sequence[int]) -> Part:
    """Return the images that could be read; a copy only if some could not."""
    readable = np.ones(len(labels), dtype=bool)
    readable[list(failed)] = False
    targets = torch.from_numpy(labels)
    if failed:
        kept = torch.from_numpy(np.flatnonzero(readable))
        pixels, targets = pixels.index_select(0, kept), targets[kept]
    return Part(ImageSet(pixels, targets), readable)


def _corrupt_message(name: str, failures: Sequence[Failure], total: int) -> str:
    shown = ", ".join(f"{failure.name!r} ({failure.reason})" for failure in failures[:3])
    more = ", ..." if len(failures) > 3 else ""
    return (
        f"data={name!r}: {len(failures)} of {total} images cannot be read: {shown}{more}; "
        'repair or remove them, or leave them out with on_corrupt="skip"'
    )
