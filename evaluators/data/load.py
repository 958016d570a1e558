"""The one way to get images: options go in, three splits come out; the test is decoded when it is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from evaluators.data.cache import decode_cached
from evaluators.data.decode import Failure, any_colour, decode
from evaluators.data.images import ImageData, Images, ImageSet, Unopened, channel_statistics
from evaluators.data.options import DataOptions
from evaluators.data.splits import stratified_split, stratified_subset
from evaluators.data.streaming import StreamedImages
from evaluators.sources.base import Listing, Source
from evaluators.sources.find import find_source
from search_space.base.checks import check_seed, printable, refusal, shown
from search_space.base.errors import InvalidRequest

# Training images from which mean and standard deviation of streamed data are estimated.
_SAMPLE = 1024


def open_source(data: DataOptions | str) -> Source:
    """List the data set that ``data`` names; decodes nothing.

    Raises:
        InvalidRequest: the name is not known, or the data set cannot be used.
    """
    return find_source(data.name if isinstance(data, DataOptions) else data)


def image_channels(options: DataOptions, source: Source) -> Literal[1, 3]:
    """Return how many channels the images of ``source`` are loaded with: 1 or 3.

    With ``channels: auto`` this reads headers of image files, unless the source says it: all of them where all are
    grey, else up to the first colour image. The answer does not depend on the seed.
    """
    if options.channels != "auto":
        return options.channels
    if len(source.channels) == 1:
        return source.channels[0]
    listings = (source.train, source.validation)
    return 3 if any(any_colour(listing.pictures) for listing in listings if listing is not None) else 1


def load_data(
    options: DataOptions | str = "digits", *, seed: int = 0, source: Source | None = None, **fields: Any
) -> ImageData:
    """Load a data set as square uint8 images in three disjoint, stratified splits.

    Test images are opened when `ImageData.test` is first read, never before: a search does not see them. Mean and
    standard deviation are those of the train split: exact for images in memory, estimated from 1024 images drawn by
    ``seed`` for streamed ones.

    Args:
        options: which images, and how; or a name, with other fields of `DataOptions` as keywords:
            ``load_data("path/to/images", image_size=64)``.
        seed: 0..2**32 - 1; with the data it alone decides the splits.
        source: what `open_source` gave for these options, if that has been called.
        fields: fields of `DataOptions`.

    Raises:
        InvalidRequest: a field is out of range, the name is not known, or the source cannot be used.
    """
    options = replace(options, **fields) if isinstance(options, DataOptions) else DataOptions(options, **fields)
    seed = check_seed("seed", seed)
    source = open_source(options) if source is None else source
    channels, skip = image_channels(options, source), options.on_corrupt == "skip"
    chosen = _choose(source, options, seed)
    gibibytes = chosen.count * channels * options.side**2 / 2**30
    stream = options.where == "stream" or (options.where == "auto" and gibibytes > options.memory_limit)
    if stream and skip:
        raise InvalidRequest(
            f"data.on_corrupt: 'skip' needs images held in memory, but the {chosen.count} images of "
            f"{shown(source.name)} ({gibibytes:.2g} GiB) are streamed; repair the unreadable ones, "
            "or set where to memory"
        )
    reader = Reader(source.name, options.side, channels, stream=stream, skip=skip, cache=options.cache)
    read, skipped = reader.read(chosen.listings)
    if chosen.division is None:
        train_images, held_images = (part.images for part in read)
    else:
        train_images, held_images = (read[0].take(indices) for indices in chosen.division)
    _check_still_there(source, train_images, held_images)
    mean, std = reader.statistics(train_images, seed)
    return ImageData(
        source.name,
        source.classes,
        train_images,
        held_images,
        Unopened(len(chosen.test), partial(reader.open_test, chosen.test)),
        mean,
        std,
        skipped,
        image_size=options.image_size,
        where="stream" if stream else options.where,
        workers=options.workers,
    )


def describe(data: ImageData) -> str:
    """Return one line such as "digits: 1797 images, 10 classes, 1x16x16; train 1149, validation 288, test 360".

    The test split is not opened for it.
    """
    total = sum(data.sizes.values())
    sizes = ", ".join(f"{name} {size}" for name, size in data.sizes.items())
    stored = f" of {data.stored_size}x{data.stored_size}" if data.stored_size != data.image_size else ""
    streamed = "; streamed from disk" if data.where == "stream" else ""
    skipped = f"; {len(data.skipped)} unreadable left out" if data.skipped else ""
    return (
        f"{printable(data.name)}: {total} images, {len(data.classes)} classes, "
        f"{data.channels}x{data.image_size}x{data.image_size}{stored}; {sizes}{streamed}{skipped}"
    )


@dataclass(frozen=True, eq=False)
class ReadListing:
    """The images of one listing.

    Attributes:
        images: those that could be read.
        readable: bool, one for each listed image.
    """

    images: Images
    readable: np.ndarray

    def take(self, indices: np.ndarray) -> Images:
        """Return the readable ones among the listed images at ``indices``."""
        places = np.cumsum(self.readable) - 1
        return self.images.subset(places[indices[self.readable[indices]]])


@dataclass(frozen=True)
class Reader:
    """How the images of one data set are read: decoded now, or left on disk.

    Attributes:
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

    def read(self, listings: Sequence[Listing]) -> tuple[list[ReadListing], tuple[str, ...]]:
        """Return the images of each listing, and the names of those left out.

        Raises:
            InvalidRequest: one cannot be read and ``skip`` is not set, or they do not fit in memory.
        """
        if self.stream:
            return [self._streamed(listing) for listing in listings], ()
        if self.cache:
            pixels, failures = decode_cached(listings, self.size, self.channels)
        else:
            arrays, failures = decode(listings, self.size, self.channels)
            pixels = [torch.from_numpy(array) for array in arrays]
        if failures and not self.skip:
            raise _corrupt(self.name, failures, sum(map(len, listings)))
        parts = [
            _readable(images, listing.labels, [failure.index for failure in failures if failure.split == number])
            for number, (images, listing) in enumerate(zip(pixels, listings, strict=True))
        ]
        return parts, tuple(failure.name for failure in failures)

    def open_test(self, listing: Listing) -> tuple[Images, tuple[str, ...]]:
        """Return the images of the test split and the names of those left out; as `read`."""
        (part,), skipped = self.read([listing])
        if len(part.images) == 0:
            raise refusal("data.name", self.name, "has no image of test that can be read", "repair the files")
        return part.images, skipped

    def statistics(self, train: Images, seed: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return `channel_statistics` of the training images, or of 1024 of them, drawn by ``seed``, of a stream."""
        if isinstance(train, ImageSet):
            return channel_statistics(train.images)
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(train), generator=generator)[:_SAMPLE]
        return channel_statistics(train.gather(chosen.sort().values))

    def _streamed(self, listing: Listing) -> ReadListing:
        labels = torch.from_numpy(listing.labels)
        images = StreamedImages(listing.pictures, labels, self.channels, self.size, self.name)
        return ReadListing(images, np.ones(len(listing), dtype=bool))


def _readable(pixels: torch.Tensor, labels: np.ndarray, failed: Sequence[int]) -> ReadListing:
    """Return the images that could be read; a copy only if some could not."""
    readable = np.ones(len(labels), dtype=bool)
    readable[list(failed)] = False
    targets = torch.from_numpy(labels)
    if failed:
        kept = torch.from_numpy(np.flatnonzero(readable))
        pixels, targets = pixels.index_select(0, kept), targets[kept]
    return ReadListing(ImageSet(pixels, targets), readable)


def _corrupt(name: str, failures: Sequence[Failure], total: int) -> InvalidRequest:
    first = ", ".join(f"{shown(failure.name)} ({failure.reason})" for failure in failures[:3])
    why = f"has {len(failures)} of {total} images that cannot be read: {first}{', ...' if len(failures) > 3 else ''}"
    return refusal("data.name", name, why, "repair or remove them, or leave them out with on_corrupt: skip")


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The images to read.

    Attributes:
        listings: train and validation; or both in one, and then
        division: positions in it of the training and of the validation images.
        test: the test images.
    """

    listings: tuple[Listing, ...]
    division: tuple[np.ndarray, np.ndarray] | None
    test: Listing

    @property
    def count(self) -> int:
        return sum(map(len, self.listings)) + len(self.test)


def _choose(source: Source, options: DataOptions, seed: int) -> _Chosen:
    max_train_images = options.max_train_images
    train, held, tested = source.train, source.validation, source.test
    if tested is None:
        rest, out = stratified_split(train.labels, options.test, seed, field="data.test", classes=source.classes)
        train, tested = train.take(rest), train.take(out)
    if max_train_images is not None:
        total = len(train) + (0 if held is None else len(held))
        if total > max_train_images:
            # Half up, and exact for any size, which round() on a float is not.
            share = 0 if held is None else (2 * max_train_images * len(held) + total) // (2 * total)
            train = _limit(train, max_train_images - share, source, max_train_images, seed)
            held = None if held is None else _limit(held, share, source, max_train_images, seed)
    if held is not None:
        return _Chosen((train, held), None, tested)
    # decoded, and kept in the cache, as one: then another seed finds them there
    division = stratified_split(train.labels, options.validation, seed, field="data.validation", classes=source.classes)
    return _Chosen((train,), division, tested)


def _limit(listing: Listing, n: int, source: Source, max_train_images: int, seed: int) -> Listing:
    present = len(np.unique(listing.labels))
    if n < present:
        raise InvalidRequest(
            f"data.max_train_images: {max_train_images} leaves {n} images for {present} classes of one split; "
            f"raise it to {math.ceil(max_train_images * present / max(n, 1))} or more"
        )
    chosen = stratified_subset(listing.labels, n, seed, field="data.max_train_images", classes=source.classes)
    return listing.take(chosen)


def _check_still_there(source: Source, train: Images, validation: Images) -> None:
    """Refuse what skipping has emptied."""
    for name, part in (("train", train), ("validation", validation)):
        if len(part) == 0:
            raise refusal("data.name", source.name, f"has no image of {name} that can be read", "repair the files")
    lost = np.setdiff1d(source.train.labels, train.labels.numpy())
    if len(lost):
        why = f"has no training image of class {shown(source.classes[int(lost[0])])} that can be read"
        raise refusal("data.name", source.name, why, "repair the files")
