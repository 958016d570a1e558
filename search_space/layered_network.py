"""A network as a value that is made of single layers, beside `Architecture`, which is made of blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor, nn

from search_space.architecture import Architecture
from search_space.base.checks import check_choice
from search_space.base.errors import InvalidRequest
from search_space.base.sizes import check_macro_name, check_size
from search_space.blueprint import Blueprint
from search_space.layer_cost import Cost, linear_cost
from search_space.layered.activations import ACTIVATIONS
from search_space.layered.joined import check_layers, in_text, out_of, with_maps
from search_space.layered.layer import Layer, Map
from search_space.layered.reading import layered_fields


@dataclass(frozen=True)
class LayeredNetwork(Blueprint):
    """Layers one behind the other, the mean over the map, and a classifier.

    Raises InvalidRequest naming the layer (``body[3].form``) of anything impossible.

    Attributes:
        name: what it is called, for people.
        body: the layers in front of the mean.
        pool: side of the map of means that the classifier gets: 1 for one mean per channel.
        hidden: features of linear layers in front of the classifier, each with ``activation``.
    """

    FORMAT: ClassVar[str] = "sepnas-layered"

    name: str
    image_size: int
    in_channels: int
    classes: int
    body: tuple[Layer, ...]
    pool: int = 1
    hidden: tuple[int, ...] = ()
    activation: str = "relu"

    def __post_init__(self) -> None:
        check_macro_name("name", self.name)
        for field, least in (("image_size", 1), ("in_channels", 1), ("classes", 2), ("pool", 1)):
            check_size(field, getattr(self, field), least)
        check_choice("activation", self.activation, ACTIVATIONS)
        for index, features in enumerate(self.hidden):
            check_size(f"hidden[{index}]", features, 1)
        check_layers("body", self.body)
        for index, (layer, at) in enumerate(self.placed()):
            try:
                layer.out(at)
            except InvalidRequest as error:
                raise InvalidRequest(f"body[{index}]: {error}") from None

    def placed(self) -> Iterator[tuple[Layer, Map]]:
        """Each layer of the body with what it gets."""
        return with_maps(self.body, Map(self.in_channels, self.image_size, self.image_size))

    @property
    def features(self) -> tuple[int, ...]:
        """What goes into each linear layer of the head, and the classes."""
        last = out_of(self.body, Map(self.in_channels, self.image_size, self.image_size))
        return (last.channels * self.pool**2, *self.hidden, self.classes)

    def build(self) -> nn.Module:
        network = LayeredModule(self)
        initialise(network)
        return network

    def cost(self) -> Cost:
        return sum((layer.cost(at) for layer, at in self.placed()), self.head_cost())

    def head_cost(self) -> Cost:
        """What the linear layers cost, the classifier included."""
        sizes = self.features
        return sum((linear_cost(*pair, bias=True) for pair in pairwise(sizes)), Cost())

    def head_text(self) -> str:
        """The head on one line."""
        hidden = "".join(f", linear {features}, {self.activation}" for features in self.hidden)
        return f"mean {self.pool}x{self.pool}{hidden}, linear"

    def __str__(self) -> str:
        size = f"{self.in_channels}x{self.image_size}x{self.image_size}"
        return f"{self.name} {size} {self.classes}: {in_text(self.body)}; {self.head_text()}"

    @classmethod
    def fields_from_json(cls, fields: dict[str, Any]) -> dict[str, Any]:
        return layered_fields(fields)

    def to_json(self) -> dict[str, Any]:
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        body, hidden = [layer_to_json(layer) for layer in self.body], list(self.hidden)
        return {"format": self.FORMAT, "version": self.VERSION, **own, "body": body, "hidden": hidden}


def layer_to_json(layer: Layer) -> dict[str, Any]:
    """A dict for ``json.dumps``, from which `search_space.layered.reading` makes an equal layer."""
    values: dict[str, Any] = {"layer": layer.KIND}
    for field in fields(layer):
        value = getattr(layer, field.name)
        values[field.name] = [layer_to_json(each) for each in value] if isinstance(value, tuple) else value
    return values


#: a network as a value that needs no code of the user's
PlainNetwork = Architecture | LayeredNetwork


def network_name(network: PlainNetwork) -> str:
    """What people call it: of an architecture its macro-architecture."""
    return network.macro if isinstance(network, Architecture) else network.name


class LayeredModule(nn.Module):
    """Body and head of a `LayeredNetwork`: ``(batch, in_channels, image_size, image_size) -> (batch, classes)``."""

    def __init__(self, network: LayeredNetwork) -> None:
        super().__init__()
        self.body = nn.Sequential(*(layer.module(at) for layer, at in network.placed()))
        self.head = LinearHead(network.features, network.pool, network.activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class LinearHead(nn.Module):
    """Means, hidden linear layers with an activation each, classifier: ``(b, c, h, w) -> (b, classes)``."""

    def __init__(self, features: tuple[int, ...], pool: int, activation: str) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(pool)
        self.hidden = nn.Sequential()
        for given, made in pairwise(features[:-1]):
            self.hidden.append(nn.Linear(given, made))
            self.hidden.append(ACTIVATIONS[activation]())
        self.classifier = nn.Linear(features[-2], features[-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.hidden(self.pool(x).flatten(1)))


def initialise(module: nn.Module) -> None:
    """He initialisation by fan-in for convolutions, N(0, 0.01) for linear layers.

    By fan-in, a depthwise convolution keeps the variance of its input, which matters where no batch norm follows.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
