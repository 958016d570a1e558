"""FractalNet's block: columns of layers that double in number from one to the next and are joined by means."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import ClassVar

from torch import Tensor, nn

from search_space.base.checks import check_int
from search_space.base.errors import InvalidRequest
from search_space.layer_cost import Cost
from search_space.layered.joined import Series, check_layers, in_text
from search_space.layered.layer import Layer, Map

#: the last column of as many has 512 units
_MOST = 10


@dataclass(frozen=True)
class Fractal(Layer):
    """``columns`` side by side (Larsson et al. 2016, equation 1): the first is one ``unit``; each further one is two
    fractals of one column less. Where columns end together, their mean goes on. There is no drop-path."""

    KIND: ClassVar[str] = "fractal"

    columns: int
    unit: tuple[Layer, ...]

    def check(self, where: str) -> None:
        check_int(f"{where}.columns", self.columns, 1, _MOST)
        check_layers(f"{where}.unit", self.unit)
        if not self.unit:
            raise InvalidRequest(f"{where}.unit: empty; give the layers of a unit")

    @property
    def _series(self) -> Series:
        return Series(self.unit)

    @property
    def _less(self) -> Fractal:
        return Fractal(self.columns - 1, self.unit)

    def out(self, given: Map) -> Map:
        made = self._series.out(given)
        if self._series.out(made) != made:
            raise InvalidRequest("unit: a unit behind another one must keep the map's shape")
        return made

    def cost(self, given: Map) -> Cost:
        one = self._series.cost(given)
        if self.columns == 1:
            return one
        return one + self._less.cost(given) + self._less.cost(self.out(given))

    def module(self, given: Map) -> nn.Module:
        return FractalColumns(self, given)

    def __str__(self) -> str:
        return f"fractal {self.columns} ({in_text(self.unit)})"


class FractalColumns(nn.Module):
    """The module of a `Fractal`: ``(b, *given) -> (b, *out(given))``."""

    def __init__(self, fractal: Fractal, given: Map) -> None:
        super().__init__()
        self.short = Series(fractal.unit).module(given)
        self.has_more = fractal.columns > 1
        if self.has_more:
            less = Fractal(fractal.columns - 1, fractal.unit)
            self.first = FractalColumns(less, given)
            self.second = FractalColumns(less, fractal.out(given))

    def columns(self, x: Tensor) -> list[Tensor]:
        """What each column makes of ``x``, the longest first."""
        longer = self.second.columns(self.first(x)) if self.has_more else []
        return [*longer, self.short(x)]

    def forward(self, x: Tensor) -> Tensor:
        made = self.columns(x)
        return reduce(add, made) / len(made)
