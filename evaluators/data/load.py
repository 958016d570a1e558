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
from evaluators.sources.base import Listing, Source, unusable
from evaluators.sources.find import find_source
from search_space.base.checks import check_seed, plain, printable, require, shown
from search_space.base.errors import InvalidRequest

# Training images from which mean and standard deviation of streamed data are estimated.
_SAMPLE = 1024


def open_source(data: DataOptions | str) -> Source:
    """List the data set that ``data`` names; decodes nothing. InvalidRequest if it is unknown or cannot be used."""
    return find_source(data.name if isinstance(data, DataOptions) else data)


def image_channels(options: DataOptions, source: Source) -> Literal[1, 3]:
    """Return how many channels the images of ``source`` are loaded with: 1 or 3.

    With ``channels: auto`` this reads headers of image files up to the first colour image, unless the source says it.
    """
    if options.channels != "auto":
        return options.channels
    if len(source.channels) == 1:
        return source.channels[0]
    listings = (source.train, source.validation)
    return 3 if any_colour(listing.pictures for listing in listings if listing is not None) else 1


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
    channels = image_channels(options, source)
    train, held, test = _choose(source, options, seed)
    count = sum(map(len, (train, test))) + (0 if held is None else len(held))
    gibibytes = count * channels * options.side**2 / 2**30
    stream = options.where == "stream" or (options.where == "auto" and gibibytes > options.memory_limit)
    if stream and options.on_corrupt == "skip":
        raise InvalidRequest(
            f"data.on_corrupt: 'skip' needs images held in memory, but the {count} images of "
            f"{shown(source.name)} ({gibibytes:.2g} GiB) are streamed; repair the unreadable ones, "
            "or set where to memory"
        )
    reader = Reader(source.name, options, channels, stream)
    if held is None:
        # decoded, and kept in the cache, as one: then another seed finds them there
        parts = stratified_split(
            train.labels, options.validation, seed, field="data.validation", classes=source.classes
        )
        ((images, failed),), skipped = reader.read([train])
        train_images, held_images = (_readable(images, part, failed) for part in parts)
    else:
        read, skipped = reader.read([train, held])
        train_images, held_images = (_readable(images, np.arange(len(images)), failed) for images, failed in read)
    _check_still_there(source, train_images, held_images)
    mean, std = _statistics(train_images, seed)
    return ImageData(
        source.name,
        source.classes,
        train_images,
        held_images,
        Unopened(len(test), partial(reader.open_test, test)),
        mean,
        std,
        skipped,
        image_size=options.image_size,
        where="stream" if stream else options.where,
        workers=options.workers,
    )


def describe(data: ImageData) -> str:
    """Return one line such as "digits: 1797 images, 10 classes, 1x16x16; train 1149, validation 288, test 360"."""
    total = sum(data.sizes.values())
    sizes = ", ".join(f"{name} {size}" for name, size in data.sizes.items())
    stored = f" of {data.stored_size}x{data.stored_size}" if data.stored_size != data.image_size else ""
    streamed = "; streamed from disk" if data.where == "stream" else ""
    skipped = f"; {len(data.skipped)} unreadable left out" if data.skipped else ""
    return (
        f"{printable(data.name)}: {total} images, {len(data.classes)} classes, "
        f"{data.channels}x{data.image_size}x{data.image_size}{stored}; {sizes}{streamed}{skipped}"
    )


@dataclass(frozen=True)
class Reader:
    """How the images of the data set ``name`` are read: left on disk if they are to be streamed, else decoded now."""

    name: str
    options: DataOptions
    channels: int
    stream: bool

    def read(self, listings: Sequence[Listing]) -> tuple[list[tuple[Images, list[int]]], tuple[str, ...]]:
        """Return the images of each listing with the positions of those to be left out, and the names of the latter.

        Raises:
            InvalidRequest: one cannot be read and is not to be skipped, or they do not fit in memory.
        """
        size, channels = self.options.side, self.channels
        read: list[tuple[Images, list[int]]] = []
        failures: list[Failure] = []
        for listing in listings:
            labels = torch.from_numpy(listing.labels)
            if self.stream:
                read.append((StreamedImages(listing.pictures, labels, channels, size, self.name), []))
                continue
            if self.options.cache:
                pixels, failed = decode_cached(listing, size, channels)
            else:
                pixels, failed = decode(listing.pictures, size, channels)
            read.append((ImageSet(pixels, labels), [failure.index for failure in failed]))
            failures += failed
        if failures and self.options.on_corrupt != "skip":
            names = [shown(_end(one.name.removeprefix(f"{self.name}/"), 40)) for one in failures[:3]]
            names[0] += f" ({plain(failures[0].reason, 100 if len(names) == 1 else 40)})"
            first = ", ".join(names) + (", ..." if len(failures) > len(names) else "")
            why = f"has {len(failures)} of {sum(map(len, listings))} images that cannot be read: {first}"
            raise unusable(self.name, why, "repair or remove them, or set on_corrupt: skip")
        return read, tuple(failure.name for failure in failures)

    def open_test(self, listing: Listing) -> tuple[Images, tuple[str, ...]]:
        """Return the images of the test split and the names of those left out; as `read`."""
        ((images, failed),), skipped = self.read([listing])
        images = _readable(images, np.arange(len(images)), failed)
        require(len(images) > 0, "data.name", self.name, "has no readable image in test", "repair the files")
        return images, skipped


def _end(path: str, most: int) -> str:
    """The end of a long path, which tells which image it is."""
    return path if len(path) <= most else f"...{path[3 - most :]}"


def _statistics(train: Images, seed: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return `channel_statistics` of the training images, or of 1024 of them, drawn by ``seed``, of a stream."""
    if isinstance(train, ImageSet):
        return channel_statistics(train.images)
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:_SAMPLE]
    return channel_statistics(train.gather(chosen.sort().values))


def _readable(images: Images, chosen: np.ndarray, failed: list[int]) -> Images:
    """Return the images at ``chosen`` (ascending) but those that ``failed``; a copy only if they are not all."""
    kept = np.setdiff1d(chosen, failed, assume_unique=True)
    return images if len(kept) == len(images) else images.subset(kept)


def _choose(source: Source, options: DataOptions, seed: int) -> tuple[Listing, Listing | None, Listing]:
    """Return what to read of train, validation (None if it is still to be split off train) and test."""
    most = options.max_train_images
    train, held, test = source.train, source.validation, source.test
    if test is None:
        rest, out = stratified_split(train.labels, options.test, seed, field="data.test", classes=source.classes)
        train, test = train.take(rest), train.take(out)
    total = len(train) + (0 if held is None else len(held))
    if most is not None and total > most:
        # Half up, and exact for any size, which round() on a float is not.
        share = 0 if held is None else (2 * most * len(held) + total) // (2 * total)
        train = _limit(train, most - share, source, most, seed)
        held = None if held is None else _limit(held, share, source, most, seed)
    return train, held, test


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
        why = f"has no readable image in {name}"
        require(len(part) > 0, "data.name", source.name, why, "repair the files")
    for label in np.setdiff1d(source.train.labels, train.labels.numpy()):
        why = f"has no readable training image of class {shown(source.classes[label])}"
        raise unusable(source.name, why, "repair the files")
