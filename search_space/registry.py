"""The register of operators. An operator is one class that says what it costs and how it is made; the notation, the
candidates, the supernet, the cost tables and ``sepnas list operators`` follow from registering it."""

from __future__ import annotations

import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

from search_space.base.checks import unknown
from search_space.layer_cost import Cost, downsampled
from search_space.padding import Direction

if TYPE_CHECKING:  # options name operators, and are read without torch
    from torch import nn

#: The identity in place of a block. It is not an operator but the absence of one.
SKIP = "skip"

Scope = Literal["spatial", "block"]


@dataclass(frozen=True)
class Slot:
    """Where an operator sits: it maps ``(batch, in_channels, height, width)`` to
    ``(batch, out_channels, ceil(height / stride), ceil(width / stride))``.

    In the spatial slot of an inverted residual ``in_channels == out_channels`` are the expanded channels.
    ``inner_channels`` are those inside an operator that ``has_inner`` ones; 0 for as many as go out.
    """

    in_channels: int
    out_channels: int
    stride: int
    height: int
    width: int
    activation: str
    inner_channels: int = 0

    @property
    def out_size(self) -> tuple[int, int]:
        """(height, width) of the output map."""
        return downsampled(self.height, self.stride), downsampled(self.width, self.stride)


class Operator(ABC):
    """One candidate operator.

    To set: ``scope`` ("spatial": replaces the depthwise convolution of an inverted residual, channels kept; "block":
    replaces the whole block), ``source`` (the paper and section), ``summary`` (one line).
    """

    scope: ClassVar[Scope]
    source: ClassVar[str]
    summary: ClassVar[str]
    #: Even-sized layers in it whose padding direction the network assigns (`search_space.padding`).
    directed_layers: ClassVar[int] = 0
    #: Output channel i depends on input channel i alone, and by the same rule whatever the number of channels.
    channelwise: ClassVar[bool] = False
    #: Whether a whole-block operator has inner channels of its own, which can be chosen: `Slot.inner_channels`.
    has_inner: ClassVar[bool] = False
    #: The block's activation follows the residual sum; the operator's own module ends linear.
    activation_after_residual: ClassVar[bool] = False

    def unfit(self, slot: Slot) -> str | None:
        """Why the operator cannot sit in ``slot``, or None if it can."""
        return None

    @abstractmethod
    def cost(self, slot: Slot) -> Cost:
        """Closed-form cost at ``slot``; must equal a count on the built module (tests check every operator)."""

    @abstractmethod
    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        """A fresh module for ``slot``; ``directions`` has ``directed_layers`` entries."""


OperatorClass = TypeVar("OperatorClass", bound=type[Operator])


class OperatorRegistry(Mapping[str, Operator]):
    """Read-only mapping from operator name to `Operator`, filled by `register`."""

    def __init__(self) -> None:
        self._operators: dict[str, Operator] = {}

    def __getitem__(self, name: str) -> Operator:
        try:
            return self._operators[name]
        except KeyError:
            raise unknown("operator", name, [*self._operators, SKIP], "sepnas list operators") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._operators)

    def __len__(self) -> int:
        return len(self._operators)

    def __contains__(self, name: object) -> bool:
        return name in self._operators

    def family(self, name: str) -> str:
        """What operators are called together that differ in the size behind ``_k`` alone, as ``dw`` of ``dw_k5``."""
        return re.split(r"_k\d", name)[0]

    def register(self, name: str, **parameters: tuple[int | str, ...]) -> Callable[[OperatorClass], OperatorClass]:
        """Class decorator. ``name`` may hold ``{fields}``; one operator is registered for every combination of the
        values given for them, each made by calling the class with that combination as keyword arguments.

            @operators.register("dw_k{kernel}", kernel=(3, 5, 7))

        Raises ValueError for a name that is taken, reserved, or not made of lower-case letters, digits and "_".
        """

        def decorate(cls: OperatorClass) -> OperatorClass:
            for values in itertools.product(*parameters.values()):
                arguments = dict(zip(parameters, values, strict=True))
                self._add(name.format(**arguments), cls(**arguments))
            return cls

        return decorate

    def _add(self, name: str, operator: Operator) -> None:
        if name in self._operators:
            raise ValueError(f"operator name {name!r} is already registered by {type(self._operators[name]).__name__}")
        # the notation and NNI's module names both need plain tokens
        if name in ("", SKIP) or not all(c.isascii() and (c.islower() or c.isdigit() or c == "_") for c in name):
            raise ValueError(f"operator name {name!r} is reserved or not made of lower-case letters, digits and '_'")
        self._operators[name] = operator


#: All operators by name.
operators = OperatorRegistry()
