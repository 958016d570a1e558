"""Cost of a network: multiply-accumulates and parameters, in closed form.

The convention is that of the XSepConv and BSConv papers ("FLOPs" in their tables): one multiply-accumulate counts 1;
only convolutions and linear layers count, without biases. Parameters are all trainable ones, batch norm's included.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """MACs of one image's forward pass, and trainable parameters."""

    macs: int = 0
    params: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.macs + other.macs, self.params + other.params)


def conv_cost(
    in_channels: int,
    out_channels: int,
    kernel: tuple[int, int],
    out_size: tuple[int, int],
    *,
    groups: int = 1,
    bias: bool = False,
    norm: bool = True,
) -> Cost:
    """Cost of a convolution whose output map is ``out_size`` (height, width), with its batch norm if ``norm``."""
    weights = out_channels * (in_channels // groups) * kernel[0] * kernel[1]
    return Cost(
        macs=weights * out_size[0] * out_size[1],
        params=weights + (out_channels if bias else 0) + (2 * out_channels if norm else 0),
    )


def linear_cost(in_features: int, out_features: int, *, bias: bool) -> Cost:
    """Cost of a fully connected layer."""
    weights = in_features * out_features
    return Cost(macs=weights, params=weights + (out_features if bias else 0))


def downsampled(size: int, stride: int) -> int:
    """Length of a map side after a convolution with "same" padding and ``stride``: the quotient rounded up."""
    return -(-size // stride)
