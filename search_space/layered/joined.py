"""Layers that are made of others: one behind the other, or side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from operator import add
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from search_space.base.checks import check_choice
from search_space.base.errors import InvalidRequest
from search_space.layer_cost import Cost
from search_space.layered.layer import Layer, Map

How = Literal["sum", "concat"]
_HOWS = ("sum", "concat")


@dataclass(frozen=True)
class Series(Layer):
    """``layers`` one behind the other; the identity if there are none."""

    KIND: ClassVar[str] = "series"

    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, *layers: Layer) -> Series:
        """The series of ``layers``."""
        return cls(layers)

    def check(self, where: str) -> None:
        check_layers(f"{where}.layers", self.layers)

    def out(self, given: Map) -> Map:
        return out_of(self.layers, given)

    def cost(self, given: Map) -> Cost:
        return sum((layer.cost(at) for layer, at in with_maps(self.layers, given)), Cost())

    def module(self, given: Map) -> nn.Module:
        if not self.layers:
            return nn.Identity()
        return nn.Sequential(*(layer.module(at) for layer, at in with_maps(self.layers, given)))

    def __str__(self) -> str:
        return f"[{in_text(self.layers)}]"


@dataclass(frozen=True)
class Join(Layer):
    """``branches`` side by side on the same input: their sum, or their channels behind one another."""

    KIND: ClassVar[str] = "join"

    how: How
    branches: tuple[Series, ...]

    def check(self, where: str) -> None:
        check_choice(f"{where}.how", self.how, _HOWS)
        check_layers(f"{where}.branches", self.branches)
        if not self.branches or not all(isinstance(branch, Series) for branch in self.branches):
            raise InvalidRequest(f"{where}.branches: must be one or more series of layers")

    def out(self, given: Map) -> Map:
        maps = [branch.out(given) for branch in self.branches]
        sizes = {(own.height, own.width) for own in maps}
        if len(sizes) > 1 or (self.how != "concat" and len({own.channels for own in maps}) > 1):
            told = " and ".join("x".join(map(str, (own.channels, own.height, own.width))) for own in maps)
            raise InvalidRequest(f"branches: {told} cannot be joined by {self.how}")
        return Map(sum(own.channels for own in maps), *sizes.pop()) if self.how == "concat" else maps[0]

    def cost(self, given: Map) -> Cost:
        return sum((branch.cost(given) for branch in self.branches), Cost())

    def module(self, given: Map) -> nn.Module:
        return Joined([branch.module(given) for branch in self.branches], self.how)

    def __str__(self) -> str:
        return f"{self.how}({' | '.join(in_text(branch.layers) or 'same' for branch in self.branches)})"


class Joined(nn.Module):
    """Branches side by side on ``(b, c, h, w)``, joined by sum or concatenation of channels."""

    def __init__(self, branches: Sequence[nn.Module], how: How) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        made = [branch(x) for branch in self.branches]
        return torch.cat(made, dim=1) if self.how == "concat" else reduce(add, made)

    def extra_repr(self) -> str:
        return f"how={self.how}"


def residual(*branch: Layer, shortcut: Sequence[Layer] = ()) -> Join:
    """The sum of ``branch`` and its input, or what ``shortcut`` makes of it."""
    return Join("sum", (Series.of(*branch), Series.of(*shortcut)))


def check_layers(where: str, layers: Sequence[Layer]) -> None:
    """InvalidRequest, beginning with ``where``, unless ``layers`` is a tuple of possible layers."""
    if not isinstance(layers, tuple):  # a list would make the value mutable and unhashable
        raise InvalidRequest(f"{where}: {type(layers).__name__} must be a tuple")
    for index, layer in enumerate(layers):
        layer.check(f"{where}[{index}]")


def with_maps(layers: Sequence[Layer], given: Map) -> Iterator[tuple[Layer, Map]]:
    """Each of ``layers`` with what it gets if the first one gets ``given``."""
    for layer in layers:
        yield layer, given
        given = layer.out(given)


def out_of(layers: Sequence[Layer], given: Map) -> Map:
    """What ``layers``, one behind the other, make of ``given``."""
    return reduce(lambda at, layer: layer.out(at), layers, given)


def in_text(layers: Sequence[Layer]) -> str:
    """``layers`` in one line; equal neighbours stand there once, with their number."""
    runs = [(layer, len(list(equal))) for layer, equal in groupby(layers)]
    return ", ".join(f"{count} x {layer}" if count > 1 else str(layer) for layer, count in runs)
