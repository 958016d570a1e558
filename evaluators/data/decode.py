"""From image files to one uint8 tensor: decoding, colours, resizing."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool

import numpy as np
import torch
from PIL import Image, ImageOps

from evaluators.base.devices import usable_cores
from evaluators.base.progress import progress_bar
from evaluators.sources.base import Pictures
from search_space.base.checks import plain, refusal

#: Raised by one whenever a change here alters pixels; what was decoded before is then decoded again.
DECODER_VERSION = 1

# Images per task: enough to make the cost of a task vanish, few enough for the progress bar to move.
_CHUNK = 64

_WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_GREY_MODES = ("1", "L", "LA", "La", *_WIDE_MODES)


@dataclass(frozen=True)
class Failure:
    """An image that could not be read: its position, what messages call it, and what the decoder said."""

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
        image_size: in pixels.
        channels: 1 for grey (ITU-R 601 luma), 3 for RGB.

    Raises:
        Exception: whatever the decoder raises for a damaged file.
    """
    image.draft(image.mode, (2 * image_size, 2 * image_size))
    ImageOps.exif_transpose(image, in_place=True)
    image = _grey_or_rgb(image, channels)
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    if (width, height) != (image_size, image_size):
        box = (left, top, left + side, top + side)
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def any_colour(pictures: Iterable[Pictures]) -> bool:
    """Return whether some image has a colour mode, as a palette has; reads headers only, up to the first.

    Unreadable images count as grey here; decoding reports them.
    """
    for images in pictures:
        for index in range(len(images)):
            with suppress(Exception), images.open(index) as image:
                if image.mode not in _GREY_MODES:
                    return True
    return False


def decode(pictures: Pictures, image_size: int, channels: int) -> tuple[torch.Tensor, list[Failure]]:
    """Decode all images in a pool of threads, with a progress bar on stderr if it takes long.

    Returns:
        (pixels, failures): uint8 (n, channels, image_size, image_size), zero where an image could not be read; and
        those images, in order.

    Raises:
        InvalidRequest: the images do not fit in memory.
    """
    count = len(pictures)
    try:
        pixels = np.zeros((count, channels, image_size, image_size), dtype=np.uint8)
    except MemoryError as error:
        gibibytes = f"{count * channels * image_size**2 / 2**30:.1f} GiB"
        why = f"makes {count} images with {channels} channels take {gibibytes}, more than the memory holds"
        raise refusal("data.image_size", image_size, why, "lower it or max_train_images") from error
    Image.init()  # loads Pillow's decoders here, rather than in several threads at a time
    failures: list[Failure] = []
    # leaving the pool ends it, so after Ctrl-C the tasks that have not begun do not run
    with ThreadPool(usable_cores()) as pool, progress_bar(count, "reading images", "image") as bar:
        starts = range(0, count, _CHUNK)
        for start, failed in zip(starts, pool.imap(partial(_decode_chunk, pictures, pixels), starts), strict=True):
            failures += failed
            bar.update(min(_CHUNK, count - start))
    return torch.from_numpy(pixels), failures


def _decode_chunk(pictures: Pictures, pixels: np.ndarray, start: int) -> list[Failure]:
    """Decode `_CHUNK` images from ``start`` on into ``pixels``; return which of them could not be read."""
    failures: list[Failure] = []
    for index in range(start, min(start + _CHUNK, len(pictures))):
        try:
            pixels[index] = read(pictures, index, pixels.shape[-1], pixels.shape[1])
        # Damaged files make Pillow raise nearly anything: OSError, SyntaxError, struct.error, DecompressionBombError.
        except Exception as error:
            failures.append(Failure(index, pictures.name(index), reason(error)))
    return failures


def read(pictures: Pictures, index: int, image_size: int, channels: int) -> np.ndarray:
    """Open and decode one image, as `square` describes it."""
    with pictures.open(index) as image:
        return square(image, image_size, channels)


def reason(error: Exception) -> str:
    """Return what a decoder said, in one line."""
    return plain(error) or type(error).__name__


def _grey_or_rgb(image: Image.Image, channels: int) -> Image.Image:
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
