"""Layered networks with few channels that see what their wide forms see, so that large maps can be probed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import gcd
from typing import Any

from search_space.base.errors import InvalidRequest
from search_space.layered.joined import Join
from search_space.layered.layer import Layer
from search_space.layered.simple import Conv
from search_space.layered_network import LayeredNetwork

#: one channel for each of the four groups that symmetric padding has
_FEW = 4


def narrowed(network: LayeredNetwork) -> LayeredNetwork:
    """``network`` with as few channels as have its receptive fields.

    Where channels are put behind one another, it matters which of them lie in which group of a symmetric padding: there
    all are divided by one number that leaves whole groups. A network whose channels cannot be changed stays as it is.
    """
    layers = list(_every(network.body))
    widths = [layer.channels for layer in layers if isinstance(layer, Conv) and layer.channels]
    if any(isinstance(layer, Join) and layer.how == "concat" for layer in layers):
        shared = gcd(*widths)
        divisor = 1 if shared % _FEW else max(1, shared // _FEW)
        return replace(network, body=_changed(network.body, lambda channels: channels // divisor))
    try:
        return replace(network, body=_changed(network.body, lambda _: _FEW))
    except InvalidRequest:  # a sum with the image itself, say
        return network


def _every(layers: Sequence[Layer]) -> Iterator[Layer]:
    """``layers`` and those that they are made of."""
    for layer in layers:
        yield layer
        for value in vars(layer).values():
            if isinstance(value, tuple):
                yield from _every(value)


def _changed(layers: Sequence[Layer], channels: Callable[[int], int]) -> tuple[Layer, ...]:
    """``layers`` with ``channels`` of their numbers of channels."""
    made = []
    for layer in layers:
        own: dict[str, Any] = {
            name: _changed(value, channels) for name, value in vars(layer).items() if isinstance(value, tuple)
        }
        if isinstance(layer, Conv) and layer.channels:
            own["channels"] = channels(layer.channels)
        made.append(replace(layer, **own))
    return tuple(made)
