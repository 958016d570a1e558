"""Residual blocks of two convolutions, with activations behind them (He et al. 2016), or in front ("Identity mappings",
the same year)."""

from __future__ import annotations

from search_space.layered.joined import Series, residual
from search_space.layered.layer import Layer
from search_space.layered.simple import Act, Conv, Norm


def keeps_shape(given: int, out: int, stride: int) -> bool:
    """Whether a block's shortcut is its input as it is."""
    return stride == 1 and given == out


def shortcut(given: int, out: int, stride: int) -> tuple[Layer, ...]:
    """What the input goes through in front of the sum: nothing where the shape is kept."""
    return () if keeps_shape(given, out, stride) else (Conv("k1", out, stride), Norm())


def pair(form: str, inner: int, out: int, stride: int, activation: str = "relu") -> tuple[Layer, ...]:
    """Two convolutions and what lies between and behind them, but for the activation behind the sum."""
    return (Conv(form, inner, stride), Norm(), Act(activation), Conv(form, out), Norm())


def preactivated_pair(form: str, inner: int, out: int, stride: int, activation: str = "relu") -> tuple[Layer, ...]:
    """Two convolutions and what lies between them, behind the first batch norm and activation."""
    return (Conv(form, inner, stride), Norm(), Act(activation), Conv(form, out))


def preactivated(given: int, form: str, inner: int, out: int, stride: int, activation: str = "relu") -> Layer:
    """A whole block with its sum. Where it changes the shape, the shortcut begins behind the first activation too."""
    first, layers = (Norm(), Act(activation)), preactivated_pair(form, inner, out, stride, activation)
    if keeps_shape(given, out, stride):
        return residual(*first, *layers)
    return Series.of(*first, residual(*layers, shortcut=(Conv("k1", out, stride),)))
