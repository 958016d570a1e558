"""The one way to get images: a name goes in, three splits in memory come out."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from evaluators.checks import check_fraction, check_seed, check_whole
from evaluators.dataset_names import accepted_names
from evaluators.decode import Failure, any_colour, decode
from evaluators.images import ImageData, ImageSet, channel_statistics
from evaluators.source_digits import digits_source
from evaluators.source_folder import folder_source
from evaluators.source_hub import PREFIX, hub_source
from evaluators.sources import Listing, Source
from evaluators.splits import stratified_split, stratified_subset
from search_space.errors import InvalidRequest

_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_SPLITS = ("train", "validation", "test")


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
) -> ImageData:
    """Load a data set into memory as square uint8 images in three disjoint, stratified splits.

    Args:
        name: ``digits``, a local folder, ``owner/name`` of the Hugging Face hub where no such folder exists, or
            ``hf:name[:config]``; see `evaluators.dataset_names.DATASETS`. A folder called digits is ``./digits``.
        image_size: height and width in pixels; the shorter side is resized to it and the centre kept.
        channels: 1 (grey), 3 (colour), or "auto": 1 if the files of all images say grey, else 3.
        validation: share of the training images held out for validation, where the source brings no such split.
        test: share of the images held out as the test, where the source brings no such split. It is taken off first,
            from the train part alone if there is a validation split.
        max_train_images: take a stratified choice of so many images of train and validation together, in their given
            proportion; the test stays whole. Files not chosen are not decoded.
        on_corrupt: "refuse" unreadable images with an error, or "skip" them and name them in `ImageData.skipped`.
        seed: 0..2**32 - 1; with the data it alone decides the splits.

    Raises:
        InvalidRequest: an argument is out of range, the name is not known, or the source cannot be used.
    """
    image_size, seed = check_whole("image_size", image_size, 1), check_seed(seed)
    validation, test = check_fraction("validation", validation), check_fraction("test", test)
    if max_train_images is not None:
        max_train_images = check_whole("max_train_images", max_train_images, 1)
    if isinstance(channels, bool) or channels not in ("auto", 1, 3):
        raise InvalidRequest(f"channels={channels!r} is not known: give 'auto', 1 (grey) or 3 (colour)")
    if on_corrupt not in ("refuse", "skip"):
        raise InvalidRequest(f"on_corrupt={on_corrupt!r} is not known: give 'refuse' or 'skip'")
    source = _find_source(name)
    # Over all images, chosen or not: the answer belongs to the data set, not to the seed.
    depth = _depth(source) if channels == "auto" else int(channels)
    listings = _choose(source, validation, test, max_train_images, seed)
    pixels, failures = decode(listings, image_size, depth)
    if failures and on_corrupt == "refuse":
        raise InvalidRequest(_corrupt_message(source.name, failures, sum(map(len, listings))))
    parts = [
        _readable(pixels[split], listing.labels, [failure.index for failure in failures if failure.split == split])
        for split, listing in enumerate(listings)
    ]
    _check_still_there(source, parts)
    train_set, validation_set, test_set = parts
    mean, std = channel_statistics(train_set.images)
    skipped = tuple(failure.name for failure in failures)
    return ImageData(source.name, source.classes, train_set, validation_set, test_set, mean, std, skipped)


def class_names(name: str) -> tuple[str, ...]:
    """Return the classes of the data set `name` without decoding an image; raises as `load_data` does."""
    return _find_source(name).classes


def describe(data: ImageData) -> str:
    """Return one line such as "digits: 1797 images, 10 classes, 1x16x16; train 1149, validation 288, test 360"."""
    total = sum(len(split) for split in data.splits.values())
    sizes = ", ".join(f"{name} {len(split)}" for name, split in data.splits.items())
    skipped = f"; {len(data.skipped)} unreadable left out" if data.skipped else ""
    return (
        f"{data.name}: {total} images, {len(data.classes)} classes, "
        f"{data.channels}x{data.image_size}x{data.image_size}; {sizes}{skipped}"
    )


def _find_source(name: str) -> Source:
    if not isinstance(name, str) or not name.strip():
        raise InvalidRequest(f"data={name!r} is not a name: give one of {accepted_names()}")
    if name == "digits":
        return digits_source()
    if name.startswith(PREFIX):
        return hub_source(name)
    # A path that leads nowhere goes to the folder source as well, for its message.
    if Path(name).expanduser().exists() or name.startswith(("/", ".", "~")) or name.count("/") > 1:
        return folder_source(name)
    if _HUB_NAME.fullmatch(name):
        return hub_source(name)
    raise InvalidRequest(f"data={name!r} is not known and no such folder exists: give one of {accepted_names()}")


def _depth(source: Source) -> int:
    listings = (source.train, source.validation, source.test)
    return 3 if any(any_colour(listing.pictures) for listing in listings if listing is not None) else 1


def _choose(
    source: Source, validation: float, test: float, max_train_images: int | None, seed: int
) -> tuple[Listing, Listing, Listing]:
    """Return train, validation and test as they will be decoded."""
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
    if held is None:
        rest, out = stratified_split(train.labels, validation, seed, field="validation", classes=source.classes)
        train, held = train.take(rest), train.take(out)
    return train, held, tested


def _limit(listing: Listing, n: int, source: Source, max_train_images: int, seed: int) -> Listing:
    present = len(np.unique(listing.labels))
    if n < present:
        raise InvalidRequest(
            f"max_train_images={max_train_images} leaves {n} images for {present} classes of one split: "
            f"raise it to {math.ceil(max_train_images * present / max(n, 1))} or more"
        )
    return listing.take(stratified_subset(listing.labels, n, seed, field="max_train_images", classes=source.classes))


def _readable(pixels: np.ndarray, labels: np.ndarray, failed: Sequence[int]) -> ImageSet:
    """Return the images that could be read; a copy only if some could not."""
    if failed:
        pixels, labels = np.delete(pixels, failed, axis=0), np.delete(labels, failed)
    return ImageSet(torch.from_numpy(pixels), torch.from_numpy(labels))


def _check_still_there(source: Source, parts: Sequence[ImageSet]) -> None:
    """Refuse what skipping has emptied."""
    for name, part in zip(_SPLITS, parts, strict=True):
        if len(part) == 0:
            raise InvalidRequest(f"data={source.name!r}: no image of {name} can be read: repair the files")
    lost = np.setdiff1d(source.train.labels, parts[0].labels.numpy())
    if len(lost):
        raise InvalidRequest(
            f"data={source.name!r}: no training image of class {source.classes[int(lost[0])]!r} can be read: "
            "repair the files"
        )


def _corrupt_message(name: str, failures: Sequence[Failure], total: int) -> str:
    shown = ", ".join(f"{failure.name!r} ({failure.reason})" for failure in failures[:3])
    more = ", ..." if len(failures) > 3 else ""
    return (
        f"data={name!r}: {len(failures)} of {total} images cannot be read: {shown}{more}; "
        'repair or remove them, or leave them out with on_corrupt="skip"'
    )
