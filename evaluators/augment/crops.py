"""Windows of a batch of images, a different one of each image: cut out, blanked or resized."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from evaluators.base.devices import to_device
from search_space.base.errors import InvalidRequest

#: Draws per image before `draw_boxes` gives up and takes the largest central box, as in Inception's preprocessing.
TRIES = 10


def cut(images: torch.Tensor, corners: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return one window of each image: (batch, channels, *size), in the type of ``images``.

    Args:
        images: (batch, channels, height, width), any type.
        corners: int64, (2, batch), on the same device; first row and first column of each window.
        size: height and width of the windows, which lie within the images.
    """
    images = images.contiguous()
    batch, channels, height, width = images.shape
    device = images.device
    # Each row of a window is a run of size[1] neighbours in memory. Of the overlapping view of all such runs,
    # index_select copies the wanted ones run by run, four times as fast as gathering pixels.
    runs = images.view(-1).as_strided((images.numel() - size[1] + 1, size[1]), (1, 1))
    planes = torch.arange(batch * channels, device=device).view(batch, channels, 1) * height
    rows = corners[0].view(-1, 1, 1) + torch.arange(size[0], device=device)
    starts = (planes + rows) * width + corners[1].view(-1, 1, 1)
    return runs.index_select(0, starts.flatten()).view(batch, channels, *size)


def boxed(boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return which pixels lie in a box, bool (batch, 1, *size).

    Args:
        boxes: int64, (batch, 4): top, left, height, width in pixels; boxes may reach beyond the image.
        size: height and width of the images.
    """
    inside = []
    for axis, length in enumerate(size):
        after = torch.arange(length, device=boxes.device) - boxes[:, axis, None]
        inside.append((after >= 0) & (after < boxes[:, 2 + axis, None]))
    return inside[0][:, None, :, None] & inside[1][:, None, None, :]


def blank(images: torch.Tensor, boxes: torch.Tensor, fill: torch.Tensor | float) -> torch.Tensor:
    """Return ``images`` with ``fill`` in a box of each.

    Args:
        images: (batch, channels, height, width), any type.
        boxes: as `boxed` takes them, on the same device.
        fill: one value or one per channel, rounded for images of whole numbers.
    """
    mask = boxed(boxes, (images.shape[2], images.shape[3]))
    values = torch.as_tensor(fill, dtype=torch.float32, device=images.device).view(-1, 1, 1)
    return torch.where(mask, (values if images.is_floating_point() else values.round()).to(images.dtype), images)


def centre(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return the central window of height and width ``size``; InvalidRequest if it is larger than the images."""
    height, width = images.shape[2:]
    check_within(size, (height, width))
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return images[:, :, top : top + size[0], left : left + size[1]]


def draw_boxes(
    batch: int, image_size: tuple[int, int], area: Sequence[float], aspect: Sequence[float], generator: torch.Generator
) -> torch.Tensor:
    """Draw a box for each image as Inception's training does (Szegedy et al. 2015, section 6).

    Its share of the image's area is uniform within ``area`` (0..1), the logarithm of width over height uniform within
    the logarithms of ``aspect``, and its place uniform. A box that does not fit is drawn again, up to `TRIES` times;
    then the largest central box of an allowed aspect is taken.

    Args:
        batch: how many.
        image_size: height and width in pixels.
        area: least and most; likewise ``aspect``.
        generator: on the CPU.

    Returns:
        int64, (batch, 4): top, left, height, width in pixels.
    """
    height, width = image_size
    shape = (batch, TRIES)
    areas = torch.empty(shape, dtype=torch.float64).uniform_(*area, generator=generator) * height * width
    logs = torch.tensor(aspect, dtype=torch.float64).log().tolist()
    ratios = torch.empty(shape, dtype=torch.float64).uniform_(*logs, generator=generator).exp()
    widths = (areas * ratios).sqrt().round().to(torch.int64)
    heights = (areas / ratios).sqrt().round().to(torch.int64)
    fits = (widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height)
    first = fits.to(torch.int8).argmax(1, keepdim=True)
    fitting = fits.any(1)
    whole = min(max(width / height, aspect[0]), aspect[1])
    fallback = (min(height, round(width / whole)), min(width, round(height * whole)))
    h = torch.where(fitting, heights.gather(1, first)[:, 0], max(1, fallback[0]))
    w = torch.where(fitting, widths.gather(1, first)[:, 0], max(1, fallback[1]))
    place = torch.rand((2, batch), dtype=torch.float64, generator=generator)
    starts = []
    for length, taken, share in ((height, h, place[0]), (width, w, place[1])):
        drawn = ((length - taken + 1) * share).floor().to(torch.int64)
        starts.append(torch.where(fitting, drawn, (length - taken) // 2))
    return torch.stack([*starts, h, w], dim=1)


def resize_boxes(images: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return the ``boxes`` of the images, each resized to ``size``: float32 (batch, channels, *size).

    Bilinear, and antialiased where a box shrinks: the filter of Pillow and of ``interpolate(antialias=True)`` on the
    cut-out box, as two batched matrix products. (`grid_sample` would alias, and blend in what lies outside the box.)

    Args:
        images: (batch, channels, height, width), any type.
        boxes: int64, (batch, 4), any device: top, left, height, width.
        size: height and width to resize to.
    """
    batch, channels, height, width = images.shape
    boxes = to_device(boxes, images.device)
    across = _filter(boxes[:, 1], boxes[:, 3], width, size[1])
    down = _filter(boxes[:, 0], boxes[:, 2], height, size[0])
    pixels = images.to(torch.float32).reshape(batch, channels * height, width)
    narrow = torch.bmm(pixels, across.transpose(1, 2)).view(batch, channels, height, size[1])
    return torch.matmul(down.unsqueeze(1), narrow)


def _filter(start: torch.Tensor, length: torch.Tensor, full: int, size: int) -> torch.Tensor:
    """Return how much each of ``full`` pixels of the image adds to each of ``size`` of the result, along one axis.

    float32 (batch, size, full), rows of sum 1, for boxes of ``length`` pixels (batch,) from pixel ``start`` (batch,).
    """
    device = start.device
    start, length = start.view(-1, 1, 1).float(), length.view(-1, 1, 1).float()
    scale = length / size
    middle = start + (torch.arange(size, device=device).view(1, -1, 1) + 0.5) * scale
    pixel = torch.arange(full, device=device).view(1, 1, -1) + 0.5
    weights = (1 - (pixel - middle).abs() / scale.clamp(min=1)).clamp_(min=0)
    weights *= (pixel > start) & (pixel < start + length)
    return weights / weights.sum(2, keepdim=True)


def check_within(size: tuple[int, int], available: tuple[int, int]) -> None:
    """Refuse windows of ``size`` in images of ``available`` (height, width)."""
    if size[0] > available[0] or size[1] > available[1]:
        raise InvalidRequest(
            f"size: {size[0]}x{size[1]} cannot be cut from {available[0]}x{available[1]} pixels; make it smaller, "
            "or the images larger"
        )
