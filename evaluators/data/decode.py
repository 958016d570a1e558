"""From image files to one uint8 array per split: decoding, colours, resizing."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from evaluators.base.progress import progress_bar
from evaluators.sources.base import ArrayImages, Listing, Picture
from search_space.base.checks import refusal

#: Raised by one whenever a change here alters pixels; what was decoded before is then decoded again.
DECODER_VERSION = 1

# Images per task: enough to make the cost of a task vanish, few enough for the progress bar to move.
_CHUNK = 64

# Seconds per image above which threads pay. Reading a tiny image is mostly Python, which holds the interpreter lock:
# measured on 32x32 JPEG files, two threads were a third slower than one.
_WORTH_THREADS = 0.0003

# Split, its images, where to start, and where the pixels go.
_Chunk = tuple[int, Sequence[Picture], int, np.ndarray]

_WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_GREY_MODES = ("1", "L", "LA", "La", *_WIDE_MODES)


@dataclass(frozen=True)
class Failure:
    """An image that could not be read.

    Attributes:
        split: position of its listing among those decoded together.
        index: its position in that listing.
        name: what messages call it.
        reason: what the decoder said.
    """

    split: int
    index: int
    name: str
    reason: str


def square(image: Image.Image, image_size: int, channels: int) -> np.ndarray:
    """Return the pixels of ``image`` as uint8, (channels, image_size, image_size).

    The EXIF orientation is applied. Transparent images are laid over white. 16-bit grey is scaled to 8 bits, a palette
    looked up, CMYK converted. The shorter side becomes ``image_size`` (bilinear, antialiased) and the centre is kept;
    both happen in one step, so that an image a million pixels wide and one high takes no extra memory.

    Args:
        image: in any mode but the floating-point one; large JPEG files are read at a reduced scale of at least twice
            ``image_size``.
        image_size: in pixels, at least 1.
        channels: 1 for grey (ITU-R 601 luma), 3 for RGB.

    Raises:
        Exception: whatever the decoder raises for a damaged file.
    """
    image.draft(image.mode, (2 * image_size, 2 * image_size))
    ImageOps.exif_transpose(image, in_place=True)
    image = _plain(image, channels)
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    if (width, height) != (image_size, image_size):
        box = (left, top, left + side, top + side)
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def any_colour(pictures: Iterable[Picture]) -> bool:
    """Return whether some image has a colour mode (a palette counts as colour); stops at the first, reads headers only.

    Unreadable images count as grey here; decoding reports them.
    """
    return any(_has_colour(picture) for picture in pictures)


def decode(listings: Sequence[Listing], image_size: int, channels: int) -> tuple[list[np.ndarray], list[Failure]]:
    """Decode every image of every listing in a pool of threads, with one progress bar on stderr if it takes long.

    Returns:
        (pixels, failures): for each listing uint8 (n, channels, image_size, image_size), zero where an image could not
        be read; and those images, in order.

    Raises:
        InvalidRequest: the images do not fit in memory.
    """
    try:
        pixels = [np.zeros((len(listing), channels, image_size, image_size), dtype=np.uint8) for listing in listings]
    except MemoryError as error:
        total = sum(len(listing) for listing in listings)
        gibibytes = f"{total * channels * image_size**2 / 2**30:.1f} GiB"
        why = f"makes {total} images with {channels} channels take {gibibytes}, more than the memory holds"
        raise refusal("data.image_size", image_size, why, "lower it or max_train_images") from error
    # Pillow loads its decoders on first use; here, once, rather than in several threads at a time.
    Image.init()
    chunks = [
        (split, listing.pictures, start, pixels[split])
        for split, listing in enumerate(listings)
        for start in range(0, len(listing), _CHUNK)
    ]
    failures: list[Failure] = []
    total = sum(map(len, listings))
    with progress_bar(total, "reading images", "image") as bar:
        for done, failed in _run(chunks):
            failures += failed
            bar.update(done)
    return pixels, sorted(failures, key=lambda failure: (failure.split, failure.index))


def _run(chunks: Sequence[_Chunk]) -> Iterator[tuple[int, list[Failure]]]:
    """Decode all chunks, the first two here and the others in threads; yield their results as they come."""
    seconds = math.inf
    for chunk in chunks[:2]:
        begun = time.perf_counter()
        done, failed = _decode_chunk(*chunk)
        # The shorter time counts: the first may also pay for loading decoders and for a cold disk.
        seconds = min(seconds, (time.perf_counter() - begun) / done)
        yield done, failed
    with ThreadPoolExecutor(max_workers=os.cpu_count() if seconds > _WORTH_THREADS else 1) as pool:
        tasks = [pool.submit(_decode_chunk, *chunk) for chunk in chunks[2:]]
        try:
            yield from (task.result() for task in as_completed(tasks))
        except BaseException:
            # Leaving the pool waits for its tasks; after Ctrl-C those that have not begun must not run.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _decode_chunk(split: int, pictures: Sequence[Picture], start: int, pixels: np.ndarray) -> tuple[int, list[Failure]]:
    """Decode `_CHUNK` images from `start` on into ``pixels``; return how many were tried and which failed."""
    image_size, channels = pixels.shape[-1], pixels.shape[1]
    failures: list[Failure] = []
    end = min(start + _CHUNK, len(pictures))
    if isinstance(pictures, ArrayImages) and pictures.shape == (channels, image_size, image_size):
        pixels[start:end] = pictures.pixels[start:end]
        return end - start, failures
    for index in range(start, end):
        try:
            pixels[index] = read(pictures[index], image_size, channels)
        # Damaged files make Pillow raise nearly anything: OSError, SyntaxError, struct.error, DecompressionBombError.
        except Exception as error:
            failures.append(Failure(split, index, pictures[index].name, reason(error)))
    return end - start, failures


def read(picture: Picture, image_size: int, channels: int) -> np.ndarray:
    """Open and decode one image, as `square` describes it."""
    with picture.open() as image:
        return square(image, image_size, channels)


def reason(error: Exception) -> str:
    """Return what a decoder said, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _has_colour(picture: Picture) -> bool:
    try:
        with picture.open() as image:
            return image.mode not in _GREY_MODES
    except Exception:
        # decoding will report it
        return False


def _plain(image: Image.Image, channels: int) -> Image.Image:
    """Return ``image`` in mode L or RGB."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode in _WIDE_MODES:
        # convert("L") would clip at 255 instead of scaling.
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        over = Image.new("RGBA", image.size, "white")
        over.alpha_composite(image.convert("RGBA"))
        image = over
    return image.convert("L" if channels == 1 else "RGB")
