"""The one way to get images: a name goes in, three splits come out; the test is decoded when it is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from evaluators.data.decode import any_colour
from evaluators.data.images import ImageData, Images, Unopened
from evaluators.data.options import DataOptions
from evaluators.data.reader import Reader
from evaluators.data.splits import stratified_split, stratified_subset
from evaluators.sources.base import Listing, Source
from evaluators.sources.find import find_source
from search_space.base.checks import check_seed
from search_space.base.errors import InvalidRequest


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
    parts = _choose(source, options, seed)
    gibibytes = parts.count * channels * options.side**2 / 2**30
    stream = options.where == "stream" or (options.where == "auto" and gibibytes > options.memory_limit)
    if stream and skip:
        raise InvalidRequest(
            f"data.on_corrupt: 'skip' needs images held in memory, but the {parts.count} images of {source.name!r} "
            f"({gibibytes:.2g} GiB) are streamed; repair the unreadable ones, or set where to memory"
        )
    reader = Reader(source.name, options.side, channels, stream=stream, skip=skip, cache=options.cache)
    read, skipped = reader.read(parts.listings)
    if parts.division is None:
        train_images, held_images = (part.images for part in read)
    else:
        train_images, held_images = (read[0].take(indices) for indices in parts.division)
    _check_still_there(source, train_images, held_images)
    mean, std = reader.statistics(train_images, seed)
    return ImageData(
        source.name,
        source.classes,
        train_images,
        held_images,
        Unopened(len(parts.test), partial(reader.open_test, parts.test)),
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
        f"{data.name}: {total} images, {len(data.classes)} classes, "
        f"{data.channels}x{data.image_size}x{data.image_size}{stored}; {sizes}{streamed}{skipped}"
    )


@dataclass(frozen=True, eq=False)
class _Parts:
    """What is to be read.

    Args:
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


def _choose(source: Source, options: DataOptions, seed: int) -> _Parts:
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
        return _Parts((train, held), None, tested)
    # decoded, and kept in the cache, as one: then another seed finds them there
    division = stratified_split(train.labels, options.validation, seed, field="data.validation", classes=source.classes)
    return _Parts((train,), division, tested)


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
            raise InvalidRequest(f"data.name: {source.name!r}: no image of {name} can be read; repair the files")
    lost = np.setdiff1d(source.train.labels, train.labels.numpy())
    if len(lost):
        raise InvalidRequest(
            f"data.name: {source.name!r}: no training image of class {source.classes[int(lost[0])]!r} can be read; "
            "repair the files"
        )
