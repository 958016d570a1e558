"""A layer as a value: what it makes of a map, what it costs there, and its module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from search_space.layer_cost import Cost, downsampled


@dataclass(frozen=True)
class Map:
    """What a layer gets of one image: ``(channels, height, width)``."""

    channels: int
    height: int
    width: int

    def down(self, stride: int) -> tuple[int, int]:
        """(height, width) behind a layer with "same" padding and ``stride``."""
        return downsampled(self.height, stride), downsampled(self.width, stride)


@dataclass(frozen=True)
class Layer(ABC):
    """It does not say what it gets: channels and sizes follow from the layers in front."""

    #: what its JSON form calls it
    KIND: ClassVar[str]

    @abstractmethod
    def check(self, where: str) -> None:
        """InvalidRequest, beginning with ``where``, for fields that are impossible whatever the layer gets."""

    @abstractmethod
    def out(self, given: Map) -> Map:
        """What it makes of ``given``; InvalidRequest if it cannot take that."""

    @abstractmethod
    def cost(self, given: Map) -> Cost:
        """What it costs at ``given`` (convention: `search_space.layer_cost`)."""

    @abstractmethod
    def module(self, given: Map) -> nn.Module:
        """A fresh module for ``given``: ``(batch, *given) -> (batch, *out(given))``."""

    @abstractmethod
    def __str__(self) -> str:
        """On one line, the same for equal values alone."""
