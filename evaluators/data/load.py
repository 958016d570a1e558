"""The one way to get images: a name goes in, three splits come out; the test is decoded when it is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Literal, get_args

import numpy as np

from evaluators.base.checks import check_fraction, check_seed, check_whole
from evaluators.data.decode import any_colour
from evaluators.data.images import ImageData, Images, Unopened, Where
from evaluators.data.reader import Reader
from evaluators.sources.find import find_source
from evaluators.sources.base import Listing, Source
from evaluators.data.splits import stratified_split, stratified_subset
from search_space.base.errors import InvalidRequest


def load_data(
    name: str,
    *,
    image_size: int,
    channels: Literal["auto", 1, 3] | int = "auto",
    validation: float = 0.2,
    test: float = 0.2,
    max_train_images: int | None = None,
    on_corrupt: Literal["refuse", "skip"] = "refuse",
    seed: int = 0,
    stored_size: int | None = None,
    where: Where = "auto",
    memory_limit: float = 4.0,
    workers: int | None = None,
    cache: bool = True,
) -> ImageData:
    """Load a data set as square uint8 images in three disjoint, stratified splits.

    Test images are opened when `ImageData.test` is first read, never before: a search does not see them. Mean and
    standard deviation are those of the train split: exact for images in memory, estimated from 1024 images drawn by
    `seed` for streamed ones.

    Args:
        name: ``digits``, a local file or folder, ``owner/name`` of the Hugging Face hub where no such folder exists,
            or ``hf:name[:config]``; see `evaluators.sources.names.DATASETS`. A folder called digits is ``./digits``.
        image_size: height and width in pixels of what networks see.
        channels: 1 (grey), 3 (colour), or "auto": 1 if the files of all images that the source does not bring as its
            test say grey, else 3.
        validation: share of the training images held out for validation, where the source brings no such split.
        test: share of the images held out as the test, where the source brings no such split. It is taken off first,
            from the train part alone if there is a validation split.
        max_train_images: take a stratified choice of so many images of train and validation together, in their given
            proportion; the test stays whole. Files not chosen are not decoded.
        on_corrupt: "refuse" unreadable images with an error, or "skip" them and name them in `ImageData.skipped`.
        seed: 0..2**32 - 1; with the data it alone decides the splits.
        stored_size: the shorter side of each image is resized to it and the centre kept, in pixels; `image_size` if
            None. If it is larger, networks see windows of `image_size`: where an augmentation crops, and the central
            one otherwise, as in the usual 56 of 64 (Tiny-ImageNet) or 224 of 256 (ImageNet).
        where: "memory" holds the decoded images in memory, "device" on the device that batches are made on, "stream"
            leaves them on disk and decodes them for each batch in worker processes. "auto" streams what takes more
            than `memory_limit`, and holds the rest on the device if they take at most half of its free memory.
        memory_limit: in GiB of decoded pixels, all splits together, for `where="auto"`.
        workers: processes that decode streamed images for one loader; if None, one per core, shared with processes
            that train together on this machine, at most 8; 0 for this process.
        cache: keep decoded pixels of images held in memory in `evaluators.data.cache.cache_folder`, for the next time.

    Raises:
        InvalidRequest: an argument is out of range, the name is not known, or the source cannot be used.
    """
    image_size, seed = check_whole("image_size", image_size, 1), check_seed(seed)
    validation, test = check_fraction("validation", validation), check_fraction("test", test)
    stored_size = image_size if stored_size is None else check_whole("stored_size", stored_size, image_size)
    workers = None if workers is None else check_whole("workers", workers, 0)
    if max_train_images is not None:
        max_train_images = check_whole("max_train_images", max_train_images, 1)
    if isinstance(channels, bool) or channels not in ("auto", 1, 3):
        raise InvalidRequest(f"channels={channels!r} is not known: give 'auto', 1 (grey) or 3 (colour)")
    if on_corrupt not in ("refuse", "skip"):
        raise InvalidRequest(f"on_corrupt={on_corrupt!r} is not known: give 'refuse' or 'skip'")
    if where not in get_args(Where):
        raise InvalidRequest(f"where={where!r} is not known: give one of {', '.join(get_args(Where))}")
    if isinstance(memory_limit, bool) or not isinstance(memory_limit, Real) or not memory_limit >= 0:
        raise InvalidRequest(f"memory_limit={memory_limit!r} is not a number of GiB: give one from 0")
    source = find_source(name)
    # Over all images, chosen or not: the answer belongs to the data set, not to the seed.
    depth = _depth(source) if channels == "auto" else int(channels)
    parts = _choose(source, validation, test, max_train_images, seed)
    gibibytes = parts.count * depth * stored_size**2 / 2**30
    stream = where == "stream" or (where == "auto" and gibibytes > memory_limit)
    if stream and on_corrupt == "skip":
        raise InvalidRequest(
            f"on_corrupt='skip' needs images held in memory, but the {parts.count} images of {name!r} "
            f"({gibibytes:.2g} GiB) are streamed: repair the unreadable ones, or set where='memory'"
        )
    reader = Reader(source.name, stored_size, depth, stream=stream, skip=on_corrupt == "skip", cache=cache)
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
        image_size=image_size,
        where="stream" if stream else where,
        workers=workers,
    )


def class_names(name: str) -> tuple[str, ...]:
    """Return the classes of the data set `name` without decoding an image; raises as `load_data` does."""
    return find_source(name).classes


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


def _depth(source: Source) -> int:
    listings = (source.train, source.validation)
    return 3 if any(any_colour(listing.pictures) for listing in listings if listing is not None) else 1


def _choose(source: Source, validation: float, test: float, max_train_images: int | None, seed: int) -> _Parts:
    train, held, tested = source.train, source.validation, source.test
    if tested is None:
        rest, out = stratified_split(train.labels, test, seed, field="test", classes=source.classes)
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
    division = stratified_split(train.labels, validation, seed, field="validation", classes=source.classes)
    return _Parts((train,), division, tested)


def _limit(listing: Listing, n: int, source: Source, max_train_images: int, seed: int) -> Listing:
    present = len(np.unique(listing.labels))
    if n < present:
        raise InvalidRequest(
            f"max_train_images={max_train_images} leaves {n} images for {present} classes of one split: "
            f"raise it to {math.ceil(max_train_images * present / max(n, 1))} or more"
        )
    return listing.take(stratified_subset(listing.labels, n, seed, field="max_train_images", classes=source.classes))


def _check_still_there(source: Source, train: Images, validation: Images) -> None:
    """Refuse what skipping has emptied."""
    for name, part in (("train", train), ("validation", validation)):
        if len(part) == 0:
            raise InvalidRequest(f"data={source.name!r}: no image of {name} can be read: repair the files")
    lost = np.setdiff1d(source.train.labels, train.labels.numpy())
    if len(lost):
        raise InvalidRequest(
            f"data={source.name!r}: no training image of class {source.classes[int(lost[0])]!r} can be read: "
            "repair the files"
        )
