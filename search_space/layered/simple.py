"""Layers that are one thing each: convolution, batch norm, activation, pooling, squeeze-and-excitation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from search_space.base.checks import check_bool, check_choice, refusal, require
from search_space.base.errors import InvalidRequest
from search_space.base.sizes import check_size
from search_space.layer_cost import Cost, conv_cost
from search_space.layered.activations import ACTIVATIONS, SqueezeGate
from search_space.layered.forms import form
from search_space.layered.layer import Layer, Map

_POOLS = ("max", "mean")


@dataclass(frozen=True)
class Conv(Layer):
    """A convolution to ``channels`` channels (0: as many as it gets), in one of the forms of
    `search_space.layered.forms`, with "same" padding; without norm and activation."""

    KIND: ClassVar[str] = "conv"

    form: str = "k3"
    channels: int = 0
    stride: int = 1
    bias: bool = False

    def check(self, where: str) -> None:
        require(isinstance(self.form, str), f"{where}.form", self.form, "must be text")
        check_size(f"{where}.channels", self.channels, 0)
        check_choice(f"{where}.stride", self.stride, (1, 2))
        check_bool(f"{where}.bias", self.bias)
        if not form(self.form, f"{where}.form").changes_channels and self.channels:
            raise refusal(f"{where}.channels", self.channels, f"is impossible, as {self.form} keeps them", "give 0")

    def out(self, given: Map) -> Map:
        return Map(self.channels or given.channels, *given.down(self.stride))

    def cost(self, given: Map) -> Cost:
        return form(self.form).cost(given, self.channels or given.channels, self.stride, bias=self.bias)

    def module(self, given: Map) -> nn.Module:
        return form(self.form).module(given, self.channels or given.channels, self.stride, bias=self.bias)

    def __str__(self) -> str:
        channels = f" c{self.channels}" if self.channels else ""
        return f"{self.form}{channels} s{self.stride}" + (" bias" if self.bias else "")


@dataclass(frozen=True)
class Norm(Layer):
    """Batch norm."""

    KIND: ClassVar[str] = "norm"

    def check(self, where: str) -> None:
        pass

    def out(self, given: Map) -> Map:
        return given

    def cost(self, given: Map) -> Cost:
        return Cost(params=2 * given.channels)

    def module(self, given: Map) -> nn.Module:
        return nn.BatchNorm2d(given.channels)

    def __str__(self) -> str:
        return "bn"


@dataclass(frozen=True)
class Act(Layer):
    """An activation."""

    KIND: ClassVar[str] = "act"

    activation: str = "relu"

    def check(self, where: str) -> None:
        check_choice(f"{where}.activation", self.activation, ACTIVATIONS)

    def out(self, given: Map) -> Map:
        return given

    def cost(self, given: Map) -> Cost:
        return Cost()

    def module(self, given: Map) -> nn.Module:
        return ACTIVATIONS[self.activation]()

    def __str__(self) -> str:
        return self.activation


@dataclass(frozen=True)
class Squeeze(Layer):
    """Squeeze-and-excitation through ``channels`` channels with biases and a sigmoid, as EfficientNet has it."""

    KIND: ClassVar[str] = "se"

    channels: int
    activation: str = "silu"

    def check(self, where: str) -> None:
        check_size(f"{where}.channels", self.channels, 1)
        check_choice(f"{where}.activation", self.activation, ACTIVATIONS)

    def out(self, given: Map) -> Map:
        return given

    def cost(self, given: Map) -> Cost:
        pairs = ((given.channels, self.channels), (self.channels, given.channels))
        return sum((conv_cost(*pair, (1, 1), (1, 1), bias=True, norm=False) for pair in pairs), Cost())

    def module(self, given: Map) -> nn.Module:
        return SqueezeGate(given.channels, self.channels, self.activation)

    def __str__(self) -> str:
        return f"se{self.channels} {self.activation}"


@dataclass(frozen=True)
class Pool(Layer):
    """The largest value or the mean of windows of ``kernel`` x ``kernel``. Sizes that ``stride`` does not divide are
    rounded up, as those behind a convolution are."""

    KIND: ClassVar[str] = "pool"

    how: str
    kernel: int
    stride: int

    def check(self, where: str) -> None:
        check_choice(f"{where}.how", self.how, _POOLS)
        check_choice(f"{where}.kernel", self.kernel, (2, 3))
        check_choice(f"{where}.stride", self.stride, (1, 2))
        if self.kernel == 2 and self.stride == 1:
            raise InvalidRequest(f"{where}.stride: 1, but windows of 2 must not overlap; give 2, or a kernel of 3")

    def out(self, given: Map) -> Map:
        return Map(given.channels, *given.down(self.stride))

    def cost(self, given: Map) -> Cost:
        return Cost()

    def module(self, given: Map) -> nn.Module:
        make = nn.MaxPool2d if self.how == "max" else nn.AvgPool2d
        if self.kernel % 2:
            return make(self.kernel, self.stride, self.kernel // 2)
        return make(self.kernel, self.stride, ceil_mode=True)

    def __str__(self) -> str:
        return f"{self.how}{self.kernel} s{self.stride}"
