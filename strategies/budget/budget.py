"""Budgets: what a network may cost."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_space.base.checks import check_number, plain, refusal, require, shown
from search_space.base.errors import InvalidRequest

#: Costs that are whole numbers, with fields of their own in a budget.
EXACT_METRICS = ("macs", "params")
#: Relative tolerance of bounds on other costs: sums of decimal fractions are not exact in binary.
SLACK = 1e-9

#: More than any network can cost, and small enough for sums in 64 bits.
_MOST = 10**18
_SUFFIX = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def parse_count(value: int | float | str, field: str) -> int:
    """A number of MACs or parameters, written as ``16700000``, ``1.67e7``, ``"16.7M"`` or ``"850k"``.

    InvalidRequest for ``field`` unless it is a whole number from 0 to 10**18.
    """
    number: Any = value
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:e[0-9]+)?)\s*([kmg]?)\s*", value.lower())
        if match is None:
            raise refusal(field, value, "is not a number", "write it like 16.7M, 850k or 1.2G")
        require(float(match[1]) <= _MOST, field, value, "is too large")
        number = Decimal(match[1]) * _SUFFIX[match[2]]  # in floats 16.7M is not a whole number
        number = int(number) if number == number.to_integral_value() else number
    elif isinstance(value, float) and value.is_integer():
        number = round(value)
    if isinstance(number, float) and number == math.inf:
        raise refusal(field, value, "is too large")
    require(isinstance(number, Integral) and not isinstance(number, bool), field, value, "is not a whole number")
    require(number >= 0, field, value, "must not be negative")
    require(number <= _MOST, field, value, "is too large")
    return int(number)


def format_count(count: int | float) -> str:
    """``17507328`` -> ``"17.51M"``; below 1000 as it is."""
    for suffix, unit in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if abs(count) >= unit:
            return f"{count / unit:.2f}{suffix}"
    return f"{count:g}"


@dataclass(frozen=True)
class Budget:
    """Bounds on additive costs of a network, both ends included; None, or no entry, leaves an end open.

    MACs and params are compared exactly. Any other cost of a table (`CostTable.with_cost`) is bounded by its name and
    compared as a float, with a relative tolerance of 1e-9. InvalidRequest for an unreadable number or min > max.

    Attributes:
        max_macs: most multiply-accumulates (MACs) per image, such as 16.7M.
        max_params: most trainable parameters, such as 1.5M.
        min_macs: fewest MACs per image.
        min_params: fewest trainable parameters.
        max_costs: upper bounds of your own costs by name, such as {latency_ms: 5.0}.
        min_costs: lower bounds of your own costs by name.
    """

    max_macs: int | float | str | None = None
    max_params: int | float | str | None = None
    min_macs: int | float | str | None = None
    min_params: int | float | str | None = None
    # dicts cannot be hashed; equality does compare them
    max_costs: dict[str, float] = field(default_factory=dict, hash=False)
    min_costs: dict[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for metric in EXACT_METRICS:
            for end in ("max", "min"):
                value = getattr(self, f"{end}_{metric}")
                if value is not None:
                    count = parse_count(value, f"budget.{end}_{metric}")
                    object.__setattr__(self, f"{end}_{metric}", count)
        for name in ("max_costs", "min_costs"):
            object.__setattr__(self, name, _own_bounds(getattr(self, name), name))
        for metric, (low, high) in self.bounds().items():
            if low is not None and high is not None and low > high:
                raise InvalidRequest(
                    f"{field_name('min', metric)}: {low:,} is above {field_name('max', metric)} {high:,}; swap them"
                )

    def bounds(self) -> dict[str, tuple[float | None, float | None]]:
        """{metric: (lower, upper)} of the metrics that are bounded at all."""
        pairs = {metric: (getattr(self, f"min_{metric}"), getattr(self, f"max_{metric}")) for metric in EXACT_METRICS}
        for metric in (*self.max_costs, *self.min_costs):
            pairs[metric] = (self.min_costs.get(metric), self.max_costs.get(metric))
        return {metric: pair for metric, pair in pairs.items() if pair != (None, None)}

    def bounded(self, metric: str, low: float | str | None, high: float | str | None) -> Budget:
        """This budget with other bounds on one metric."""
        ends: dict[str, Any] = {f"min_{metric}": low, f"max_{metric}": high}
        if metric not in EXACT_METRICS:
            ends = {"min_costs": {**self.min_costs, metric: low}, "max_costs": {**self.max_costs, metric: high}}
            ends = {name: {k: v for k, v in own.items() if v is not None} for name, own in ends.items()}
        return replace(self, **ends)

    @property
    def exact(self) -> Budget:
        """The bounds on MACs and params alone."""
        return replace(self, max_costs={}, min_costs={})

    def check_metrics(self, known: Iterable[str]) -> None:
        """InvalidRequest, naming it, for a bound on a metric that is not among the ``known`` ones."""
        known = tuple(known)
        for metric, (_, high) in self.bounds().items():
            if metric not in known:
                field = field_name("min" if high is None else "max", plain(metric))
                remedy = f"known are {', '.join(known)}; add its costs or leave the bound out"
                raise InvalidRequest(f"{field}: no cost table gives {shown(metric)}; {remedy}")

    def admits(self, costs: Mapping[str, float]) -> bool:
        """Whether ``costs`` ({metric: value}) are inside; InvalidRequest if a bounded metric is not among them."""
        self.check_metrics(costs)
        return bool(np.all(self.inside({metric: np.asarray(value) for metric, value in costs.items()})))

    def inside(self, costs: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Whether each of many networks is inside: ``costs`` is {metric: (n,)}, the result (n,)."""
        result = np.ones(np.shape(next(iter(costs.values()), ())), dtype=bool)
        for metric, (low, high) in self.bounds().items():
            exact = metric in EXACT_METRICS  # as int, which float arithmetic would round
            if low is not None:
                result &= costs[metric] >= (low if exact else low * (1 - SLACK))
            if high is not None:
                result &= costs[metric] <= (high if exact else high * (1 + SLACK))
        return result

    def __str__(self) -> str:
        parts = []
        for metric, (low, high) in self.bounds().items():
            if low is not None:
                parts.append(f"{metric} >= {format_count(low)}")
            if high is not None:
                parts.append(f"{metric} <= {format_count(high)}")
        return ", ".join(parts) or "none"


def field_name(end: str, metric: str) -> str:
    """What the ``end`` ("min" or "max") of a metric's bounds is called: ``budget.max_macs``, or
    ``budget.max_costs.latency_ms``."""
    return f"budget.{end}_{metric}" if metric in EXACT_METRICS else f"budget.{end}_costs.{metric}"


def _own_bounds(bounds: Any, name: str) -> dict[str, float]:
    """``bounds`` of the field ``name`` if they are numbers of 0 or more by the names of costs."""
    where = f"budget.{name}"
    require(isinstance(bounds, Mapping), where, bounds, "must be numbers by name", "write it like {latency_ms: 5.0}")
    checked = {}
    for metric, bound in bounds.items():
        require(isinstance(metric, str), where, metric, "must be the name of a cost")
        checked[metric] = check_number(f"{where}.{plain(metric)}", bound, least=0)
        if metric in EXACT_METRICS:
            raise InvalidRequest(f"{where}.{metric}: {metric} has its own field; use {name[:4]}{metric}")
    return checked
