"""Which input pixels a pixel of a map sees: the impulse response of layers without their non-linear parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_space.layers import ACTIVATIONS, SqueezeExcite

_DROPPED = (*{type(make()) for make in ACTIVATIONS.values()}, nn.BatchNorm2d, nn.Dropout, SqueezeExcite)
#: sides of the maps that layers are probed on; the next one is taken if the field touches the edge
_SIDES = (32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Reach:
    """How far a pixel sees, in pixels of what it sees: on each side of its own place, which lies ``stride`` pixels from
    that of its neighbour."""

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0
    stride: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the receptive field."""
        return self.top + self.bottom + 1, self.left + self.right + 1

    @property
    def offset(self) -> tuple[float, float]:
        """How far below and to the right of the pixel's own place the middle of the receptive field lies."""
        return (self.bottom - self.top) / 2, (self.right - self.left) / 2

    def then(self, layer: Reach) -> Reach:
        """What a pixel behind one more ``layer`` sees: receptive fields add up, each in the pixels of its own map."""
        return Reach(
            self.left + self.stride * layer.left,
            self.right + self.stride * layer.right,
            self.top + self.stride * layer.top,
            self.bottom + self.stride * layer.bottom,
            self.stride * layer.stride,
        )


def linear(module: nn.Module) -> nn.Module:
    """``module`` in double precision with equal positive weights, in place: whatever it sees counts, and nothing
    cancels. Norms, activations and squeeze-and-excitation are left out, maxima become means."""
    for part in list(module.modules()):
        for name, child in part.named_children():
            if isinstance(child, _DROPPED):
                part._modules[name] = nn.Identity()
            elif isinstance(child, nn.MaxPool2d):
                part._modules[name] = nn.AvgPool2d(child.kernel_size, child.stride, child.padding)
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.constant_(part.weight, 1 / part.weight[0].numel())
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    return module.double().eval()


def reach(layer: nn.Module, channels: int) -> Reach:
    """The reach of a `linear` ``layer`` that takes maps of ``channels`` channels, by its impulse response.

    ValueError if it sees further than 500 pixels.
    """
    for side in _SIDES:
        image = torch.zeros(1, channels, side, side, dtype=torch.float64, requires_grad=True)
        found = seen(image, layer(image))
        if found is not None:
            return found
    raise ValueError(f"the layer sees further than a map of {_SIDES[-1]} pixels")


def chain_reaches(layers: Iterable[nn.Module], image: Tensor, at: Iterable[int]) -> dict[int, Reach | None]:
    """The reach of the pixels behind some of the `linear` ``layers`` (those numbered ``at``), by the impulse response
    of all layers in front together; None where it touches the edge of ``image``."""
    wanted, found, made = set(at), {}, image
    for index, layer in enumerate(layers):
        made = layer(made)
        if index in wanted:
            found[index] = seen(image, made)
    return found


def seen(image: Tensor, made: Tensor) -> Reach | None:
    """What the middle pixel of the map ``made`` sees of ``image`` (1, channels, side, side), which requires a gradient;
    None if it sees the edge, beyond which there may be more."""
    side, middle = image.shape[-1], made.shape[-1] // 2
    stride = round(side / made.shape[-1])
    (gradient,) = torch.autograd.grad(made[0, :, middle, middle].sum(), image, retain_graph=True)
    rows, columns = (gradient[0].sum(0) > 0).nonzero().unbind(1)
    top, bottom, left, right = (int(each) for each in (rows.min(), rows.max(), columns.min(), columns.max()))
    if min(top, left) == 0 or max(bottom, right) == side - 1:
        return None
    own = middle * stride
    return Reach(own - left, right - own, own - top, bottom - own, stride)
