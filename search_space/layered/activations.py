"""What layered networks have beside the layers of architectures: two more activations, and a gate with biases."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from search_space import layers

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    **layers.ACTIVATIONS,
    "silu": nn.SiLU,  # swish
    "leaky_relu": partial(nn.LeakyReLU, 0.1),  # DarkNet's slope
}


class SqueezeGate(nn.Module):
    """Scales each channel of ``(b, c, h, w)`` by a sigmoid of what the means of all channels say."""

    def __init__(self, channels: int, squeeze: int, activation: str) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeeze, 1)
        self.act = ACTIVATIONS[activation]()
        self.expand = nn.Conv2d(squeeze, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.act(self.reduce(self.pool(x)))))
